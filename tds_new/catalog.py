"""Translations: reading ``.po`` files and compiling them to ``.mo``, without GNU gettext on the machine."""

import ast
import struct
from dataclasses import dataclass, field
from pathlib import Path

MAGIC = 0x950412DE


class CatalogError(ValueError):
    """A ``.po`` file that makes no sense; the text names file and line."""


@dataclass(slots=True)
class Entry:
    """A message: its texts by keyword (``msgctxt``, ``msgid``, ``msgid_plural``, ``msgstr``, ``msgstr[0]``...) and its flags."""

    texts: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)

    @property
    def translations(self) -> list[str]:
        """The translation, or one for each plural form."""
        return [text for keyword, text in self.texts.items() if keyword.startswith("msgstr")]

    @property
    def complete(self) -> bool:
        """Whether every form is translated and nobody marked it as a guess."""
        return "fuzzy" not in self.flags and all(self.translations)


def read(path: Path) -> list[Entry]:
    """The messages of a ``.po`` file, its header first; obsolete ones (``#~``) are left out. Raises CatalogError."""
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
    """Write the complete messages of ``source`` (.po) to ``target`` (.mo) and say how many. Raises CatalogError."""
    messages = sorted(
        (_key(entry), "\0".join(entry.translations).encode()) for entry in read(source) if entry.complete
    )
    table, keys, values = (
        28,
        b"\0".join(k for k, _ in messages) + b"\0",
        b"\0".join(v for _, v in messages) + b"\0",
    )
    start_of_keys = table + 16 * len(messages)
    offsets = [
        *_offsets([k for k, _ in messages], start_of_keys),
        *_offsets([v for _, v in messages], start_of_keys + len(keys)),
    ]
    header = struct.pack("<7I", MAGIC, 0, len(messages), table, table + 8 * len(messages), 0, 0)
    target.write_bytes(header + struct.pack(f"<{len(offsets)}I", *offsets) + keys + values)
    return len(messages)


def _key(entry: Entry) -> bytes:
    context = f"{entry.texts['msgctxt']}\x04" if "msgctxt" in entry.texts else ""
    plural = f"\0{entry.texts['msgid_plural']}" if "msgid_plural" in entry.texts else ""
    return f"{context}{entry.texts['msgid']}{plural}".encode()


def _offsets(texts: list[bytes], start: int) -> list[int]:
    offsets: list[int] = []
    for text in texts:
        offsets += [len(text), start]
        start += len(text) + 1
    return offsets
