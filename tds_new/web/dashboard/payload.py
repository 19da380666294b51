"""The contract of a dashboard's JSON, which the page and its polls get.

``payload.d.ts`` beside this module has the same types for the scripts; a test holds both to the same keys.
Numbers that people read come as text, in the language and with the decimals that they are shown with. Moments
are milliseconds since 1970, or ``YYYY-MM-DDTHH:MM:SSZ``.
"""

from typing import TypedDict

# The version of the page and its data together: a page of another version is told to reload.
VERSION = 6

# [t, mean, minimum, maximum, readings, quality]: t is the start of the bucket in milliseconds since 1970,
# minimum and maximum are null unless a gauge, quality is 0 measured, 1 interpolated, 2 estimated.
Point = list[float | int | None]
# [index, mark]: the position of a part of a series, and the mark of its content.
Part = tuple[int, str]


class TimeWindow(TypedDict):
    """The window of the charts' time axis, in milliseconds since 1970."""

    start: int
    end: int
    step: int
    zone: str
    ticks: list[int]


class Card(TypedDict):
    """A card: a figure with its words.

    ``shown`` is the figure as shown, ``unit`` its unit, ``line`` its period or source, ``detail`` and
    ``spoken`` a comparison as written and as spoken, ``quality`` the quality of the data, ``sources`` which
    meters a total is made of, ``provisional`` since when the figure may still be taken back. Cards of the
    fleet have ``state`` and ``word`` instead. The rest is for programs: exact values as text, moments, and
    the measured share.
    """

    id: str
    title: str
    icon: str
    shown: str
    unit: str
    line: str
    detail: str
    spoken: str
    quality: str
    sources: str
    provisional: str
    state: str
    word: str
    value: str | int | None
    instant: str | None
    end: str | None
    previous: str | None
    coverage: str | None


class Series(TypedDict):
    """A line of a chart, with the figures of its legend.

    ``step`` is the step and ``gap`` the largest gap that the line crosses, in milliseconds. ``points``
    has only the points of parts that the browser does not have yet; ``parts`` names all.
    """

    id: int
    name: str
    gateway: str
    unit: str
    colour: str
    step: int
    gap: int
    last: str
    mean: str
    minimum: str
    maximum: str
    parts: list[Part]
    points: list[Point]


class LineChart(TypedDict):
    """The lines of one unit. ``from_zero`` says whether the axis begins at zero."""

    id: str
    unit: str
    title: str
    from_zero: bool
    summary: str
    empty: str
    devices_shown: str
    series: list[Series]


class Month(TypedDict):
    """A bar of a chart of months, beside the same month a year before.

    A month that is still filling is ``partial``. One that the next readings may take back is ``provisional``.
    """

    month: str
    value: float | None
    shown: str
    previous: float | None
    previous_shown: str
    coverage: float | None
    measured: str
    partial: bool
    provisional: bool


class BarChart(TypedDict):
    """Thirteen months of one measure. ``compared``: a month a year before is known."""

    id: str
    unit: str
    colour: str
    title: str
    summary: str
    compared: bool
    months: list[Month]


class Finality(TypedDict):
    """Up to when a measure's figures are settled and final.

    ``provisional`` is since when they may be taken back, or empty.
    """

    id: str
    name: str
    colour: str
    settled: str
    final: str
    provisional: str


class Waiting(TypedDict):
    """How many readings wait for a person; the sentence is empty for none."""

    count: int
    text: str


class MeterRow(TypedDict):
    """A meter with its consumption this month, or what sub-meters do not cover.

    ``depth`` is 0 for a meter that is behind none, 1 for its sub-meters and for the rest that they do not
    cover (``rest``). ``share`` is the part of the main meter's consumption, ``notice`` says what is wrong
    with the figure, ``provisional`` since when it may still be taken back.
    """

    id: str
    name: str
    depth: int
    rest: bool
    quantity: str
    colour: str
    role: str
    value: str
    unit: str
    share: str
    notice: str
    provisional: str


class Meters(TypedDict):
    """The meters in their structure; ``more`` says that there are others."""

    period: str
    rows: list[MeterRow]
    more: str


class Reading(TypedDict):
    """A reading as the meter sent it."""

    id: str
    device: str
    gateway: str
    quantity: str
    colour: str
    value: str
    unit: str
    instant: str
    when: str


class Readings(TypedDict):
    """The newest readings, or why there are none."""

    empty: str
    rows: list[Reading]


class SilentGateway(TypedDict):
    """A gateway that is not heard."""

    id: int
    state: str
    name: str
    since: str
    instant: str | None
    age: str
    affects: str


class Offline(TypedDict):
    """The gateways that are not heard.

    At most five are listed, and ``more`` says how many more there are. ``total`` counts all that are offline.
    """

    empty: str
    rows: list[SilentGateway]
    more: str
    total: int


class Dashboard(TypedDict):
    """A dashboard; ``failures`` has a sentence for each block that was not read."""

    version: int
    sequence: int
    title: str
    window: TimeWindow
    cards: list[Card]
    charts: list[LineChart]
    bars: list[BarChart]
    finality: list[Finality]
    waiting: Waiting
    meters: Meters
    readings: Readings
    offline: Offline
    failures: dict[str, str]
