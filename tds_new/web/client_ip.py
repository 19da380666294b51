"""The address and the network of a browser, as far as they can be trusted."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest

# What one party has: an address of IPv4, a /64 of IPv6. What one party easily gets: a /24, a /48.
PREFIXES, WIDE_PREFIXES = {4: 32, 6: 64}, {4: 24, 6: 48}


def client_ip(request: HttpRequest) -> str:
    """Return the address that the request came from.

    One of IPv4 that is mapped into IPv6 is returned as it is in IPv4. Behind a proxy (``TDS_BEHIND_PROXY``)
    it is the last address of ``X-Forwarded-For``, the one that our proxy added. The addresses before it were
    sent by the browser, so they could be forged to get around the limits of logins.
    """
    remote = str(request.META.get("REMOTE_ADDR", ""))
    if settings.TDS_BEHIND_PROXY:
        remote = request.headers.get("X-Forwarded-For", remote).rpartition(",")[2].strip() or remote
    parsed = _parse(remote)
    return remote if parsed is None else str(parsed)


def network_of(address: str) -> str:
    """Return the network that counts as one party.

    For example ``203.0.113.7/32`` or ``2001:db8:1:2::/64``.

    Whatever is no address, such as a socket in the file system, is the network ``""``.
    """
    return _network(address, PREFIXES)


def wide_network_of(address: str) -> str:
    """Return a network of which one party may have many parts: a /24 or /48."""
    return _network(address, WIDE_PREFIXES)


def _network(address: str, prefixes: dict[int, int]) -> str:
    parsed = _parse(address)
    return "" if parsed is None else str(ip_network((int(parsed), prefixes[parsed.version]), strict=False))


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    return (parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None) or parsed
