"""MAC addresses of made-up gateways.

Imports nothing, for processes that start without Django.
"""


def mac_address(digits: str) -> str:
    """Spell twelve hexadecimal digits as a MAC address."""
    return ":".join(digits[place : place + 2] for place in range(0, 12, 2))
