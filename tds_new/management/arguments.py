"""Values of command-line options: one that makes no sense is refused in one line."""

import math
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

SHOWN = 40  # characters of a refused value
LONGEST = 128  # characters of a name


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return the type of a whole number between ``low`` and ``high``, both included."""

    def parse(text: str) -> int:
        value = int(text) if text.isascii() and text.removeprefix("-").isdigit() and len(text) < 20 else None
        if value is None or not low <= value <= high:
            raise ArgumentTypeError(f"{_shown(text)} is not a whole number between {low} and {high}")
        return value

    return parse


def seconds(low: float, high: float) -> Callable[[str], float]:
    """Return the type of seconds between ``low`` and ``high``, both included."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:  # as is NaN
            raise ArgumentTypeError(f"{_shown(text)} is not a number between {low:g} and {high:g}")
        return value

    return parse


def word(text: str) -> str:
    """Return a name: some printable characters, no more than a name has.

    Raises ArgumentTypeError.
    """
    if not text.strip() or not text.isprintable() or len(text) > LONGEST:
        raise ArgumentTypeError(f"{_shown(text)} is no name of 1 to {LONGEST} printable characters")
    return text.strip()


def secret(text: str) -> str:
    """Return a password, as it was given. Raises ArgumentTypeError."""
    if not text or not text.isprintable() or len(text) > 1000:
        raise ArgumentTypeError("a password has 1 to 1000 printable characters")
    return text


def share_group(text: str) -> str:
    """Return the name of a share group, or nothing for none. Raises ArgumentTypeError."""
    if any(c in text for c in "/+#"):
        raise ArgumentTypeError(f"{_shown(text)} holds / + or #")
    return word(text) if text else ""


def folder(text: str) -> Path:
    """Return the path of a file or folder; the present one has to be written as ``.``.

    Raises ArgumentTypeError.
    """
    if not text.strip() or "\0" in text:
        raise ArgumentTypeError("a path is needed")
    return Path(text)


def _shown(text: str) -> str:
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    return ascii(shown)
