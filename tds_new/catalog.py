"""Read translations (``.po``) and compile them to ``.mo``, without GNU gettext."""

import ast
import struct
from dataclasses import dataclass, field
from pathlib import Path

MAGIC, HEADER_BYTES = 0x950412DE, 28


class CatalogError(ValueError):
    """A ``.po`` file is not valid; the text names the file and the line."""


@dataclass(slots=True)
class Entry:
    """A message with its texts and flags.

    The keys of ``texts`` are keywords: ``msgctxt``, ``msgid``, ``msgid_plural``, ``msgstr``, ``msgstr[0]``
    and so on.
    """

    texts: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)

    @property
    def translations(self) -> list[str]:
        """The translation, or one for each plural form."""
        return [text for keyword, text in self.texts.items() if keyword.startswith("msgstr")]

    @property
    def complete(self) -> bool:
        """Whether every form is translated and the message is not marked as a guess."""
        return "fuzzy" not in self.flags and all(self.translations)


def read(path: Path) -> list[Entry]:
    """Return the messages of a ``.po`` file, its header first.

    Obsolete messages (``#~``) are left out. Raises CatalogError if the file is not valid.
    """
    entries: list[Entry] = []
    current, keyword = Entry(), ""
    for number, line in enumerate([*path.read_text(encoding="utf-8").splitlines(), ""], 1):
        text = line.strip()
        if text.startswith("#,"):
            current.flags |= {flag.strip() for flag in text[2:].split(",")}
        elif text.startswith("#"):
            continue
        elif not text:
            if current.texts:
                entries.append(current)
            current = Entry()
        else:
            name, _, quoted = text.partition(" ") if not text.startswith('"') else (keyword, "", text)
            keyword = name
            try:
                current.texts[keyword] = current.texts.get(keyword, "") + ast.literal_eval(quoted)
            except (SyntaxError, ValueError, TypeError) as error:
                raise CatalogError(f"{path}:{number}: not a line of a .po file: {text[:60]}") from error
    return entries


def compile_catalog(source: Path, target: Path) -> int:
    """Write the complete messages of ``source`` (.po) to ``target`` (.mo).

    Returns how many they are, the header included. Raises CatalogError if ``source`` is not valid.
    """
    messages = sorted(
        (_key(entry), "\0".join(entry.translations).encode()) for entry in read(source) if entry.complete
    )
    keys = b"".join(key + b"\0" for key, _ in messages)
    values = b"".join(value + b"\0" for _, value in messages)
    table = HEADER_BYTES
    start_of_keys = table + 16 * len(messages)
    offsets = [
        *_offsets([k for k, _ in messages], start_of_keys),
        *_offsets([v for _, v in messages], start_of_keys + len(keys)),
    ]
    header = struct.pack("<7I", MAGIC, 0, len(messages), table, table + 8 * len(messages), 0, 0)
    target.write_bytes(header + struct.pack(f"<{len(offsets)}I", *offsets) + keys + values)
    return len(messages)


def _key(entry: Entry) -> bytes:
    """Return the key of a message in a ``.mo`` file: its context and its forms in one."""
    context = f"{entry.texts['msgctxt']}\x04" if "msgctxt" in entry.texts else ""
    plural = f"\0{entry.texts['msgid_plural']}" if "msgid_plural" in entry.texts else ""
    return f"{context}{entry.texts['msgid']}{plural}".encode()


def _offsets(texts: list[bytes], start: int) -> list[int]:
    """Return length and offset of each text, alternating.

    The texts lie one after the other from the offset ``start`` on, each ended by a zero byte.
    """
    offsets: list[int] = []
    for text in texts:
        offsets += [len(text), start]
        start += len(text) + 1
    return offsets
