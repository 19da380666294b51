"""MAC addresses: one canonical form, ``aa:bb:cc:dd:ee:ff``."""

import re

_SPELLINGS = re.compile(
    r"[0-9A-Fa-f]{12}|[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5}"
)


def normalise_mac(value: str) -> str | None:
    """The canonical form of a MAC written in any case with ``:``, ``-`` or no separator; None where it is not a MAC."""
    if not _SPELLINGS.fullmatch(value):
        return None
    digits = value.replace(":", "").replace("-", "").lower()
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))
