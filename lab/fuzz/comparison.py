"""Compare a message's outcome to the expected one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from lab.fuzz.cases import Case
from lab.fuzz.oracle import NOTHING, Expectation, Expected
from tds_new.ingestion.preparation import Answer

# The reasons for rejecting a reading whose form the contract leaves open.
OPEN = frozenset({"valor_invalido", "timestamp_invalido"})
NOT_ANSWERED = frozenset({"topico_invalido", "gateway_desconhecido", "gateway_inativo", "limite_excedido"})


class Kept(NamedTuple):
    """A reading that the pipeline would store, or has stored.

    ``time`` in microseconds since the year 1.
    """

    gateway_id: int
    conta_id: int
    device_id: int
    time: int
    valor: Decimal


class Rejection(NamedTuple):
    """A rejection by the pipeline.

    It is of a reading, or of a whole message if ``reading`` is None.
    """

    reason: str
    reading: int | None
    topic: str
    payload: bytes
    gateway_id: int | None
    conta_id: int | None


@dataclass
class Outcome:
    """The pipeline's outcome of one message.

    ``kept`` has readings by their place in the message, ``answers`` numbers and what they name as the reason
    of a refusal.
    """

    kept: dict[int, Kept] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)
    answers: list[tuple[int, str | None]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass
class Failure:
    """A case that went wrong, and how.

    ``payload`` is the shortest that still goes wrong in this way.
    """

    case: Case
    problems: list[str]
    path: str
    payload: bytes = b""

    def __str__(self) -> str:
        case = self.case
        more = f" ... {len(case.payload)} bytes" if len(case.payload) > 600 else ""
        shown = f"payload={case.payload[:600]!r}{more}"
        is_shorter = self.payload and self.payload != case.payload
        shorter = f"\n  shrunk to {self.payload[:600]!r}" if is_shorter else ""
        text = "; ".join(self.problems[:5])
        name = f"case {case.number} ({case.kind}, {self.path})"
        return f"{name}: {text}\n  topic={case.topic[:300]!r} {shown}{shorter}"


@dataclass
class Totals:
    """Totals over all cases."""

    cases: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    readings: int = 0
    unchecked: int = 0
    failures: list[Failure] = field(default_factory=list)

    def add(self, case: Case, outcome: Outcome, path: str) -> None:
        """Count a case and its outcome."""
        self.cases[path] += 1
        self.kinds[case.kind.partition("+")[2] or case.kind] += 1
        self.reasons.update(rejection.reason for rejection in outcome.rejections)
        self.readings += len(outcome.kept)


def assign_answers(
    cases: Sequence[Case],
    expectations: Sequence[Expectation],
    outcomes: list[Outcome],
    answers: Sequence[Answer],
) -> list[Outcome]:
    """Assign to each message of a batch the answer that it asked for.

    An answer that nobody asked for is a problem of the last. Answers come in the messages' order, but do not
    name them, and some messages may go without: the assignment with the fewest faults counts.
    """
    # By how many answers are assigned: the faults, and the messages that got them.
    ways: dict[int, tuple[int, tuple[int, ...]]] = {0: (0, ())}
    for number, (case, expectation) in enumerate(zip(cases, expectations, strict=True)):
        asked = {expectation.seq, *expectation.seq_open} - {None}
        if not asked:
            continue
        topic = case.topic.decode("utf-8", "replace").rpartition("/")[0] + "/ack"
        must = expectation.seq is not None and not expectation.open
        further: dict[int, tuple[int, tuple[int, ...]]] = {}
        for assigned, (faults, who) in ways.items():
            steps = [(assigned, (faults + must, who))]
            if (
                assigned < len(answers)
                and answers[assigned].topic == topic
                and answers[assigned].seq in asked
            ):
                steps.append((assigned + 1, (faults, (*who, number))))
            for place, way in steps:
                further[place] = min(way, further.get(place, way))
        ways = further
    assigned, (_, who) = min(ways.items(), key=lambda item: len(answers) - item[0] + item[1][0])
    for answer, number in zip(answers, who, strict=False):
        outcomes[number].answers.append((answer.seq, answer.error and answer.error.value))
    if assigned < len(answers):
        outcomes[-1].problems.append(f"answers that nobody asked for: {answers[assigned : assigned + 3]}")
    return outcomes


def compare(case: Case, expectation: Expectation, outcome: Outcome) -> list[str]:
    """Return everything that is wrong with ``outcome``.

    Nothing may be lost, doubled, changed, or be another's.
    """
    problems = list(outcome.problems)
    topic = case.topic.decode("utf-8", "replace")
    for rejection in outcome.rejections:
        if rejection.topic != topic or rejection.payload != case.payload:
            problems.append(f"rejected with another topic or payload ({rejection.reason})")
        if (rejection.gateway_id, rejection.conta_id) != (expectation.gateway_id, expectation.conta_id):
            whose = f"gateway {rejection.gateway_id} of conta {rejection.conta_id}"
            problems.append(f"rejected for {whose} ({rejection.reason})")
    whole = [rejection for rejection in outcome.rejections if rejection.reading is None]
    if whole:
        problems += _compare_whole(expectation, outcome, whole)
    elif expectation.refused:
        problems.append(f"not rejected as {' or '.join(sorted(expectation.refused))}")
    elif expectation.checkable:
        problems += _compare_readings(expectation.readings, outcome)
    refused_for = {rejection.reason for rejection in whole}
    return problems + (
        _compare_answers(expectation, outcome.answers, refused_for) if expectation.checkable else []
    )


def _compare_whole(expectation: Expectation, outcome: Outcome, whole: list[Rejection]) -> list[str]:
    allowed = expectation.refused | (
        frozenset({"json_invalido"}) if expectation.open or not expectation.checkable else NOTHING
    )
    problems = [
        f"rejected as {rejection.reason}; expected {sorted(allowed) or 'its readings'}"
        for rejection in whole
        if rejection.reason not in allowed
    ]
    if len(whole) > 1:
        problems.append(f"rejected {len(whole)} times")
    if expectation.large:
        return problems + (_compare_large(expectation, outcome) if expectation.checkable else [])
    if outcome.kept or len(outcome.rejections) > len(whole):
        problems.append("rejected as a whole, and readings of it too")
    return problems


def _compare_large(expectation: Expectation, outcome: Outcome) -> list[str]:
    """Return what is wrong with the readings of a message that is too large.

    Bad ones have no row.
    """
    problems = []
    for index, expected in enumerate(expectation.readings):
        kept = outcome.kept.get(index)
        if kept is None and not expected.faults and not expected.open:
            problems.append(f"reading {index} of a large message is not kept")
        elif kept is not None and (expected.faults or kept != expected[2:]):
            problems.append(f"reading {index} of a large message is kept as {kept}; expected {expected}")
    return problems


def _compare_readings(readings: tuple[Expected, ...], outcome: Outcome) -> list[str]:
    problems = []
    reasons: dict[int, list[str]] = {}
    for rejection in outcome.rejections:
        reasons.setdefault(rejection.reading or 0, []).append(rejection.reason)
    for index, expected in enumerate(readings):
        problem = _compare_reading(expected, outcome.kept.get(index), reasons.pop(index, []))
        if problem:
            problems.append(f"reading {index} {problem}")
    problems += [
        f"reading {index} is kept, and was never sent"
        for index in outcome.kept.keys() - set(range(len(readings)))
    ]
    return problems + [f"reading {index} is rejected, and was never sent" for index in reasons]


def _compare_reading(expected: Expected, kept: Kept | None, reasons: list[str]) -> str:
    """Return what is wrong with one reading; an empty text where nothing is.

    It was ``kept``, or rejected for ``reasons``.
    """
    times = (kept is not None) + len(reasons)
    if times != 1:
        return f"is accounted for {times} times"
    if kept is None:
        allowed = expected.faults or (OPEN if expected.open else NOTHING)
        if reasons[0] in allowed:
            return ""
        return f"is rejected as {reasons[0]}; expected {sorted(expected.faults) or 'to be stored'}"
    if expected.faults:
        return f"is kept; expected {sorted(expected.faults)}"
    return "" if kept == expected[2:] else f"is kept as {kept}; expected {expected[2:]}"


def _compare_answers(
    expectation: Expectation, answers: list[tuple[int, str | None]], refused_for: set[str]
) -> list[str]:
    reason = min(refused_for, default=None)
    wanted = [] if expectation.seq is None or reason in NOT_ANSWERED else [(expectation.seq, reason)]
    if answers and answers[0][1] != reason:
        return [f"answered with {answers[0][1]}; refused as {reason}"]
    if expectation.open and refused_for:
        return []
    if answers != wanted and not expectation.seq_open:
        return [f"answered {answers}; expected {wanted}"]
    return []
