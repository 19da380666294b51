"""The error of every experiment."""


class LabError(Exception):
    """An experiment cannot be made or has failed; the text says why."""
