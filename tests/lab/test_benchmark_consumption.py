"""The consumption benchmark: each part at a tiny size, and its data set."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lab.benchmarks import dataset, delay, late, storage, throughput
from lab.benchmarks.consumption import PARTS
from lab.benchmarks.consumption_bench import Bench, Sizes
from lab.benchmarks.environment import BenchmarkEnvironment
from lab.harness.errors import LabError
from tds_new.embedded.mosquitto import find_mosquitto

pytestmark = pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto 2 is not installed")
TINY = Sizes(
    backlog=2_000,
    backlog_devices=20,
    intervals=(300, 60),
    rate=40,
    senders=20,
    seconds=3,
    devices=5,
    days=32,
    disk_devices=10,
)


@pytest.fixture(scope="module")
def environment(request: pytest.FixtureRequest) -> Iterator[BenchmarkEnvironment]:
    with BenchmarkEnvironment(request.config.option.database) as servers:
        yield servers
    assert not servers.directory.exists()


@pytest.fixture(scope="module")
def bench(environment: BenchmarkEnvironment) -> Bench:
    return Bench(environment, TINY, print)


def _report(name: str, found: Any) -> tuple[str, list[bool]]:
    """The part's section, and whether its requirements are met.

    Both go through JSON, as in a report.
    """
    plain = json.loads(json.dumps(asdict(found)))
    text = "\n".join(PARTS[name].section(plain))
    assert text.isascii()
    return text, [requirement.met for requirement in PARTS[name].requirements(plain)]


def test_the_blocks_made_are_those_that_the_ledger_computes(bench: Bench) -> None:
    bench.register_only(20)
    end = datetime(2026, 7, 1, 12, 45, tzinfo=UTC)
    filled = dataset.fill(bench.environment.url(), end - timedelta(days=16), end, print)
    assert (filled.devices, filled.contas) == (20, 6)
    increments = 2  # of twenty devices; each has a block before its first reading
    assert (filled.readings, filled.blocks) == (20 * 16 * 288, 20 * 16 * 96 + increments)
    with bench.environment.connect() as connection:
        assert bench.environment.scalar("SELECT count(*) FROM tds_new_consumo_pendente") == 0
        devices = [pk for (pk,) in connection.execute("SELECT id FROM tds_new_dispositivo").fetchall()]
        assert dataset.differing(connection, devices) == 0
        with dataset.withheld(
            connection, devices[0], end - timedelta(days=2), end - timedelta(days=1)
        ) as taken:
            assert taken == 288
            assert (
                bench.environment.scalar(
                    "SELECT sum(leituras) FROM tds_new_consumo_15min WHERE dispositivo_id = %s", devices[0]
                )
                == 15 * 288
            )
            dataset.store_withheld(connection)
            assert dataset.differing(connection, devices) > 0  # what was withheld counts again
        assert dataset.differing(connection, devices) == 0


def test_a_backlog_is_computed_whole(bench: Bench) -> None:
    found = throughput.measure(bench)
    assert [run.interval for run in found.runs] == list(TINY.intervals)
    assert {run.readings for run in found.runs} == {TINY.backlog}
    assert all(run.blocks and run.worker + run.database > 0 for run in found.runs)
    text, met = _report("throughput", found)
    assert "| 60 s | 2,000 |" in text
    assert len(met) == 1


def test_each_reading_is_seen_committed_and_in_its_block(bench: Bench) -> None:
    found = delay.measure(bench)
    assert found.delay["samples"] == 3 * 20 * TINY.seconds * TINY.rate / TINY.senders
    assert (found.wrong, found.differing) == (0, 0)
    assert "40 messages/s" in _report("delay", found)[0]


def test_late_readings_touch_their_device_alone(bench: Bench) -> None:
    found = late.measure(bench)
    assert (found.late, found.ranges, found.other_ranges, found.others_changed) == (288, 96, 0, False)
    assert list(found.right) == ["blocks", "hours", "days", "months"]
    text, met = _report("late", found)
    assert "the same checksum" in text
    assert met[1:] == [True, True]


def test_what_is_on_disk_is_measured_compressed(bench: Bench, on_timescale: bool) -> None:
    if not on_timescale:
        with pytest.raises(LabError, match="plain PostgreSQL"):
            storage.measure(bench)
        return
    found = storage.measure(bench)
    assert [size.what for size in found.sizes] == [
        "readings without payload_raw",
        "readings with payload_raw",
        "blocks",
    ]
    assert all(0 < size.after < size.before for size in found.sizes)
    assert "segmentby dispositivo_id" in _report("storage", found)[0]
