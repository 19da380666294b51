"""How far the figures of a rule are from the truth, over many months.

Amounts are whole 0.0001 kWh or m3.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from lab.metering.disturbances import PEOPLE_KNOW
from lab.metering.months import DeviceMonth

FAR = 100  # a figure is far off where it is wrong by more than a 100th of the truth


class Outcome(NamedTuple):
    """What a rule makes of a device's month.

    ``asks``: somebody is asked about a reading of it. ``marks``: a reading of it is listed.
    """

    amount: int
    asks: bool
    marks: bool


class Rule(Protocol):
    """A way to count consumption."""

    def __call__(self, month: DeviceMonth) -> Outcome:
        """Return what the rule makes of a month."""


@dataclass(slots=True)
class Score:
    """How many of ``months`` are exact, and what is seen of those that are not.

    A wrong month is ``asked`` about, only ``marked``, or ``silent``; ``far_...`` are those of them that are
    wrong by more than 1 %. ``error`` is the sum of what is wrong, ``worst`` the greatest. ``asking`` months
    ask somebody something; in ``asked_exact`` of them the figure is exact and no event was one that only
    people can know about.
    """

    months: int = 0
    exact: int = 0
    asked: int = 0
    marked: int = 0
    silent: int = 0
    far_asked: int = 0
    far_marked: int = 0
    far_silent: int = 0
    asking: int = 0
    asked_exact: int = 0
    error: int = 0
    worst: int = 0

    def add(self, month: DeviceMonth, outcome: Outcome) -> None:
        """Count a month in."""
        error = max(0, abs(outcome.amount - month.truth) - month.slack)
        self.months += 1
        self.error += error
        self.worst = max(self.worst, error)
        self.asking += outcome.asks
        if not error:
            self.exact += 1
            self.asked_exact += outcome.asks and PEOPLE_KNOW.isdisjoint(month.events)
            return
        far = error * FAR > month.truth
        if outcome.asks:
            self.asked += 1
            self.far_asked += far
        elif outcome.marks:
            self.marked += 1
            self.far_marked += far
        else:
            self.silent += 1
            self.far_silent += far

    def share(self, count: int) -> float:
        """Return ``count`` as percent of the months."""
        return 100 * count / self.months


class Scores(NamedTuple):
    """The score of each rule, and of one of them by event."""

    rules: dict[str, Score]
    events: dict[str, Score]


def score(rules: Mapping[str, Rule], by_event_of: str, months: Iterable[DeviceMonth]) -> Scores:
    """Score the rules on the same months; ``by_event_of`` also by the events in them."""
    scores = Scores({name: Score() for name in rules}, {})
    for month in months:
        for name, rule in rules.items():
            outcome = rule(month)
            scores.rules[name].add(month, outcome)
            if name == by_event_of:
                for event in set(month.events) or {"nothing"}:
                    scores.events.setdefault(event, Score()).add(month, outcome)
    return scores
