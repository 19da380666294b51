"""The points of a chart, and the series that they make."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import NamedTuple

from tds_new.models import Dispositivo


class Quality(IntEnum):
    """The quality of the data behind a point; the numbers go to the browser."""

    MEASURED = 0
    INTERPOLATED = 1
    ESTIMATED = 2


class Point(NamedTuple):
    """A bucket of a chart, in the unit in which the device is drawn.

    ``mean`` is None if nothing is known about the bucket. ``minimum``, ``maximum`` and ``last`` are those of
    gauges only. ``readings`` says how many readings the bucket holds.
    """

    start: datetime
    mean: float | None
    minimum: float | None
    maximum: float | None
    readings: int
    quality: Quality = Quality.MEASURED
    last: float | None = None


@dataclass(slots=True)
class Series:
    """A device's points, one for each ``step`` with data.

    A line joins neighbouring points only if they are at most ``max_gap_s`` seconds apart.
    """

    device: Dispositivo
    step: timedelta
    max_gap_s: float = 0.0
    points: list[Point] = field(default_factory=list)
