"""The fault injection: schedule and messages, a small run, mutants."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from lab.harness import wire
from lab.torture.environment import TortureEnvironment
from lab.torture.invariants import InvariantChecker, RejectedRow, StoredRow
from lab.torture.messages import POISON, Plan, conta_of, mac_of, message_of, new_plan
from lab.torture.mutants import MUTANTS
from lab.torture.report import markdown
from lab.torture.run import FAULTS, Run, RunOptions, try_mutant
from lab.torture.schedule import GROUP_ONLY, KILL_POINTS, KINDS, SINGLE_ONLY, make_schedule
from lab.torture.system_under_test import KillSwitch, install_kill_points
from tds_new.embedded.mosquitto import find_mosquitto

PLAN = new_plan(5, 3_000)
# One schedule for every change, so that a red run is the change's doing; other seeds by TORTURE_SEED and the
# command.
SEED = int(os.environ.get("TORTURE_SEED") or 20261121)
needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto 2 is not installed")


# --- the schedule and the messages are pure -----------------------------------------------------------------


def test_one_seed_gives_one_schedule() -> None:
    assert make_schedule(7, 10_000, 60) == make_schedule(7, 10_000, 60)
    assert make_schedule(7, 10_000, 60) != make_schedule(8, 10_000, 60)


@pytest.mark.parametrize("group", [False, True])
def test_a_long_schedule_has_every_fault_in_order_of_its_place(group: bool) -> None:
    schedule = make_schedule(3, 100_000, 100, group=group)
    assert {fault.kind for fault in schedule} == KINDS.keys() - (SINGLE_ONLY if group else GROUP_ONLY)
    places = [fault.at for fault in schedule]
    assert places == sorted(places)
    assert all(0 < place < 100_000 for place in places)
    assert [fault.number for fault in schedule] == list(range(1, 101))


def test_every_kill_point_and_every_fault_can_happen() -> None:
    points = {
        fault.parameters["point"]
        for seed in range(40)
        for fault in make_schedule(seed, 10_000, 30)
        if fault.kind == "kill"
    }
    assert points == set(KILL_POINTS)
    assert FAULTS.keys() == KINDS.keys()


@pytest.mark.parametrize(("messages", "faults", "kinds"), [(100, 6, ()), (1_000, 1, ("earthquake",))])
def test_a_schedule_that_makes_no_sense_is_refused(
    messages: int, faults: int, kinds: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError):
        make_schedule(1, messages, faults, kinds=kinds)


def test_messages_are_a_function_of_seed_and_number() -> None:
    kinds = Counter(message_of(PLAN, number).kind for number in range(PLAN.messages))
    assert kinds.keys() >= {*POISON, "normal", "duplicate", "conflict", "nul_stored"}
    assert kinds["normal"] > 0.7 * PLAN.messages
    again = Plan(**PLAN.as_dict())  # type: ignore[arg-type]
    assert [message_of(again, number) for number in range(500)] == [
        message_of(PLAN, number) for number in range(500)
    ]


def test_a_duplicate_is_its_original_and_a_conflict_has_its_key() -> None:
    items = [message_of(PLAN, number) for number in range(PLAN.messages)]
    for one in items:
        if one.kind == "duplicate":
            original = items[one.identity]
            assert (one.topic, one.payload, original.kind) == (original.topic, original.payload, "normal")
        elif one.kind == "conflict":
            stored = [
                reading
                for other in items[: one.number]
                for reading in other.readings
                if reading.key == one.readings[0].key
            ]
            assert stored
            assert stored[0].valor != one.readings[0].valor


def test_packets_are_cut_wherever_the_stream_is() -> None:
    stream = (
        wire.publish("a/b", b'{"n": 12, "x": 1}', 7)
        + wire.packet(wire.PUBACK, b"\0\x07")
        + wire.publish("a", b"y" * 300, 65_535)
    )
    for size in (1, 2, 3, 7, len(stream)):
        packets, found = wire.Packets(), []
        for position in range(0, len(stream), size):
            found += list(packets.feed(stream[position : position + size]))
        assert b"".join(raw for _, _, raw in found) == stream
        topic, payload, packet_id = wire.publication(found[0][0], found[0][1])
        assert (topic, wire.identity(payload), packet_id, found[1][1]) == ("a/b", 12, 7, b"\0\x07")


# --- the checker --------------------------------------------------------------------------------------------


def _rows(numbers: range) -> list[StoredRow]:
    """Return the rows that a correct consumer stores."""
    rows: dict[object, StoredRow] = {}
    for number in numbers:
        one = message_of(PLAN, number)
        for r in one.readings:
            conta = conta_of(PLAN, int(r.mac.replace(":", "")[6:], 16))
            unit = {"D01": "kWh", "D02": "m\u00b3", "D03": "\u00b0C"}[r.codigo]
            rows.setdefault(
                r.key, StoredRow(r.mac, r.codigo, r.time, r.valor, unit, conta, conta, str(one.identity))
            )
    return list(rows.values())


def _rejections(numbers: range) -> list[RejectedRow]:
    rows = []
    for one in (message_of(PLAN, number) for number in numbers):
        mac = one.topic.split("/")[-2]
        conta = conta_of(PLAN, int(mac.replace(":", "")[6:], 16)) if mac.startswith("02") else None
        rows += [
            RejectedRow(one.topic, one.payload[:65_536], motivo, index, conta, 1)
            for motivo, index in one.rejections
        ]
    return rows


def _check(rows: list[StoredRow], rejections: list[RejectedRow]) -> set[str]:
    numbers = range(PLAN.messages)
    checker = InvariantChecker(PLAN, numbers, Counter(numbers), set(numbers), strict_order=True)
    return set(checker.check(rows, rejections).counts)


ROWS, REJECTIONS = _rows(range(PLAN.messages)), _rejections(range(PLAN.messages))
FIRST = ROWS[0]


@pytest.mark.parametrize(
    ("rows", "rejections", "broken"),
    [
        (ROWS, REJECTIONS, set()),
        (ROWS[1:], REJECTIONS, {"I1"}),
        (ROWS, REJECTIONS[1:], {"I1"}),
        (ROWS, [*REJECTIONS[1:], REJECTIONS[0]._replace(times=2)], {"I1"}),
        ([FIRST._replace(valor=FIRST.valor + Decimal("0.0001")), *ROWS[1:]], REJECTIONS, {"I1", "I2"}),
        ([FIRST._replace(unidade="Wh"), *ROWS[1:]], REJECTIONS, {"I2"}),
        ([FIRST._replace(number="99999"), *ROWS[1:]], REJECTIONS, {"I2"}),
        ([*ROWS, FIRST._replace(mac=None)], REJECTIONS, {"I2"}),
        ([*ROWS, FIRST], REJECTIONS, {"I3"}),
        ([FIRST._replace(conta="somebody else"), *ROWS[1:]], REJECTIONS, {"I4"}),
        (ROWS, [REJECTIONS[0]._replace(conta="somebody else"), *REJECTIONS[1:]], {"I4"}),
    ],
)
def test_the_checker_knows_right_from_wrong(
    rows: list[StoredRow], rejections: list[RejectedRow], broken: set[str]
) -> None:
    assert _check(rows, rejections) == broken


def test_every_point_still_exists_in_the_consumer(tmp_path: Path) -> None:
    """In a process of its own: it wraps the consumer for good."""
    pid = os.fork()
    if pid == 0:
        try:
            install_kill_points(KillSwitch(tmp_path / "order"))
            for wrong in MUTANTS.values():
                wrong.install()
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_macs_of_two_runs_differ() -> None:
    assert mac_of(new_plan(1, 100, fleet=1), 3) != mac_of(new_plan(1, 100, fleet=2), 3)


# --- for real -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def environment(request: pytest.FixtureRequest) -> Iterator[TortureEnvironment]:
    """One database and one broker for all runs of this module."""
    with TortureEnvironment(request.config.option.database) as servers:
        yield servers


@needs_mosquitto
def test_nothing_is_lost_whatever_happens(
    environment: TortureEnvironment, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\n[OK] torture seed {SEED} (TORTURE_SEED={SEED} repeats it)")
    schedule = make_schedule(SEED, 3_000, 8)
    result = Run(environment, RunOptions(SEED, 3_000, schedule), print).execute()
    assert result.passed, markdown(result)
    assert result.counts["acknowledged by the broker"] == 3_000
    assert result.counts["PUBACKs checked against the database"] >= 2_900


@needs_mosquitto
def test_a_share_group_loses_nothing_either(environment: TortureEnvironment) -> None:
    schedule = make_schedule(
        SEED, 1_500, 4, group=True, kinds=["kill", "member_joins", "terminate", "connection_cut"]
    )
    result = Run(
        environment, RunOptions(SEED, 1_500, schedule, consumers=3, group="torture"), print
    ).execute()
    assert result.passed, markdown(result)


@needs_mosquitto
@pytest.mark.once
@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_wrong_consumer_is_caught(environment: TortureEnvironment, name: str) -> None:
    # Some go wrong only if a fault meets them at the right moment: a few seeds, and one of them must catch
    # it.
    assert any(not try_mutant(environment, name, seed, print).passed for seed in range(3, 8))
