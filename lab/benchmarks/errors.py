"""What may go wrong with a measurement."""


class BenchmarkError(Exception):
    """The measurement cannot be made; the text says why."""
