"""A message's bytes, made safe to look at."""

HEX_BYTES_A_LINE = 16


def readable(payload: bytes) -> str:
    """Return ``payload`` as text if it is UTF-8, else as a hexadecimal listing.

    Characters that do not print, or that change the direction of what is printed, appear as escapes; the
    template still has to escape HTML.
    """
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        return hex_listing(payload)
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text
    )


def hex_listing(payload: bytes) -> str:
    """Return offset, bytes and ASCII, sixteen bytes a line."""
    lines = []
    for offset in range(0, len(payload), HEX_BYTES_A_LINE):
        part = payload[offset : offset + HEX_BYTES_A_LINE]
        ascii_part = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{offset:06x}  {part.hex(' '):<47}  {ascii_part}")
    return "\n".join(lines)
