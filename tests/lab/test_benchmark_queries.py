"""The query benchmark at a tiny size.

Every question is asked, of the same cases for the same seed, and the data set is right.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict

import pytest

from lab.benchmarks.dataset import wrong_sums
from lab.benchmarks.environment import BenchmarkEnvironment
from lab.benchmarks.queries import PARTS, Bench, Sizes, measure
from lab.harness.errors import LabError
from tds_new.embedded.mosquitto import find_mosquitto

pytestmark = pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto 2 is not installed")
OLDEST_BLOCK = (
    "SELECT dispositivo_id, bloco FROM tds_new_consumo_15min ORDER BY bloco, dispositivo_id LIMIT 1"
)
TINY = Sizes(devices=12, months=2, samples=3, raw=1, checked=12)


@pytest.fixture(scope="module")
def environment(request: pytest.FixtureRequest) -> Iterator[BenchmarkEnvironment]:
    with BenchmarkEnvironment(request.config.option.database) as servers:
        yield servers
    assert not servers.directory.exists()


@pytest.mark.parametrize(("part", "contas"), [("contas", 5), ("one-conta", 1)])
def test_every_question_is_asked_of_a_data_set_that_is_right(
    environment: BenchmarkEnvironment, part: str, contas: int
) -> None:
    found = PARTS[part].measure(Bench(environment, TINY, print))
    assert (found.filled["devices"], found.filled["contas"]) == (12, contas)
    increments = 1  # of twelve devices; it has a block before its first reading
    assert found.filled["readings"] == 3 * (found.filled["blocks"] - increments) > 12 * 288 * 60
    assert found.differing == found.wrong_sums == 0
    names = [answer["name"] for answer in found.answers]
    assert len(names) == len(set(names)) > 10
    for answer in found.answers:
        assert answer["first"]["samples"] == answer["again"]["samples"] == TINY.samples
        assert 0 < answer["first"]["p50"] <= answer["first"]["p95"] <= answer["first"]["worst"]
        assert answer["statements"] >= 1
    assert sum(answer["raw"] is not None for answer in found.answers) > 10
    plain = json.loads(json.dumps(asdict(found)))
    text = "\n".join(PARTS[part].section(plain))
    assert text.isascii()
    assert all(f"| {name} | " in text for name in names)
    requirements = PARTS[part].requirements(plain)
    assert {requirement.asked for requirement in requirements} == {"<= 50 ms", "<= 30 ms", "0"}
    assert [requirement.met for requirement in requirements[-2:]] == [True, True]


def test_sums_that_miss_a_block_are_noticed(environment: BenchmarkEnvironment) -> None:
    measure(Bench(environment, Sizes(devices=2, months=1, samples=1, raw=0, checked=0), print))
    with environment.connect() as connection:
        assert wrong_sums(connection) == 0
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            f"DELETE FROM tds_new_consumo_15min WHERE (dispositivo_id, bloco) = ({OLDEST_BLOCK})"
        )
        # Nobody told TimescaleDB: hours, days and months of one device keep it. Views of a plain database
        # keep nothing.
        assert wrong_sums(connection) == (3 if environment.kind == "TimescaleDB" else 0)


def test_questions_that_cannot_be_asked_fail_the_measurement(
    environment: BenchmarkEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(environment.variables, "SECRET_KEY", "")
    with environment.connect() as connection:
        connection.execute("TRUNCATE tds_new_conta CASCADE")
    with pytest.raises(LabError, match="could not be asked"):
        measure(Bench(environment, Sizes(devices=1, months=1, samples=1, raw=0, checked=0), print))
