"""Find free TCP ports on the loopback address."""

import socket

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Return whether a server could listen on this port now."""
    with socket.socket() as probe:
        # Servers set this too: then connections of an earlier server that are still closing do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port on which nobody listens at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def first_free(start: int, attempts: int = 50) -> int:
    """Return the first free port from ``start`` on.

    Raises OSError if ``attempts`` ports in a row are taken.
    """
    for port in range(start, start + attempts):
        if is_free(port):
            return port
    raise OSError(f"no free port from {start} to {start + attempts - 1}")
