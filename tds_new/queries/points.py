"""What a chart is drawn of."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import NamedTuple

from tds_new.models import Dispositivo


class Quality(IntEnum):
    """What a point rests on; the numbers go to the browser."""

    MEASURED = 0
    INTERPOLATED = 1
    ESTIMATED = 2


class Point(NamedTuple):
    """A bucket: mean (None: a gap), least, greatest and last value (gauges only), and how many readings are in it."""

    start: datetime
    mean: float | None
    minimum: float | None
    maximum: float | None
    readings: int
    quality: Quality = Quality.MEASURED
    last: float | None = None


@dataclass(slots=True)
class Series:
    """A device's points, one for each ``step`` with data; neighbours further apart than ``max_gap_s`` (seconds) are not joined by a line."""

    device: Dispositivo
    step: timedelta
    max_gap_s: float = 0.0
    points: list[Point] = field(default_factory=list)
