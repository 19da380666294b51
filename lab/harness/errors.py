"""What may go wrong with a measurement."""


class LabError(Exception):
    """The measurement cannot be made; the text says why."""
