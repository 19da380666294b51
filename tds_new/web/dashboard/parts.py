"""Series in parts, each with a mark of its content: a poll fetches only what changed, late readings of any age included."""

import hashlib
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass

RawPoint = list[float | int | None]
# The browser cuts the same way (painel.js).
POINTS_PER_PART = 32
MARK_LENGTH = 6
MARKS = re.compile(rf"([A-Za-z0-9_-]{{{MARK_LENGTH}}})*")


@dataclass(frozen=True, slots=True)
class Part:
    """Neighbouring points of a series; ``mark`` tells whether they are the ones that somebody has."""

    index: int
    mark: str
    points: list[RawPoint]


def in_parts(series_id: int, step_ms: int, points: list[RawPoint]) -> list[Part]:
    """``points`` (``[t, ...]``, t in milliseconds) cut at fixed times, so that a window that moves on keeps its parts."""
    groups: dict[int, list[RawPoint]] = {}
    for point in points:
        groups.setdefault(int(point[0] or 0) // (step_ms * POINTS_PER_PART), []).append(point)
    return [Part(index, _mark(series_id, index, group), group) for index, group in groups.items()]


def _mark(series_id: int, index: int, points: list[RawPoint]) -> str:
    digest = hashlib.blake2b(repr((series_id, index, points)).encode(), digest_size=6).digest()
    return urlsafe_b64encode(digest).decode()[:MARK_LENGTH]


def parse_marks(text: str) -> frozenset[str]:
    """The marks that a browser sent, one after the other; none where the text makes no sense."""
    if not MARKS.fullmatch(text):
        return frozenset()
    return frozenset(text[i : i + MARK_LENGTH] for i in range(0, len(text), MARK_LENGTH))
