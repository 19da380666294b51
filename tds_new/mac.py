"""MAC addresses: one canonical form, ``aa:bb:cc:dd:ee:ff``."""

import re

_SPELLINGS = re.compile(
    r"[0-9A-Fa-f]{12}|[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5}"
)


def normalise_mac(value: str) -> str | None:
    """Return the canonical form of a MAC, None if ``value`` is none.

    Upper and lower case are accepted, with ``:``, ``-`` or no separator.
    """
    if not _SPELLINGS.fullmatch(value):
        return None
    digits = value.replace(":", "").replace("-", "").lower()
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))
