"""Cut series into parts, each with a mark of its content.

So a poll fetches only what changed, late readings of any age included.
"""

import hashlib
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass

from tds_new.web.dashboard.payload import Point

# The browser cuts the same way.
POINTS_PER_PART = 32
MARK_LENGTH = 6
MARKS = re.compile(rf"([A-Za-z0-9_-]{{{MARK_LENGTH}}})*")


@dataclass(frozen=True, slots=True)
class Part:
    """Neighbouring points of a series.

    ``mark`` tells whether they are the points that somebody has already.
    """

    index: int
    mark: str
    points: list[Point]


def in_parts(series_id: int, step_ms: int, points: list[Point]) -> list[Part]:
    """Return the points of a series in parts that are cut at fixed times.

    So a window that moves on keeps its parts. The first item of a point is its time in milliseconds.
    """
    groups: dict[int, list[Point]] = {}
    for point in points:
        groups.setdefault(int(point[0] or 0) // (step_ms * POINTS_PER_PART), []).append(point)
    return [Part(index, _mark(series_id, index, group), group) for index, group in groups.items()]


def _mark(series_id: int, index: int, points: list[Point]) -> str:
    digest = hashlib.blake2b(repr((series_id, index, points)).encode(), digest_size=6).digest()
    return urlsafe_b64encode(digest).decode()[:MARK_LENGTH]


def parse_marks(text: str) -> frozenset[str]:
    """Return the marks that a browser sent, one after the other.

    There are none where the text makes no sense.
    """
    if not MARKS.fullmatch(text):
        return frozenset()
    return frozenset(text[i : i + MARK_LENGTH] for i in range(0, len(text), MARK_LENGTH))
