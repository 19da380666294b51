"""The query benchmark at a tiny size: every question is asked, of the same cases for the same seed, and the data set is right."""

import json
from collections.abc import Iterator
from dataclasses import asdict

import pytest

from tds_new.benchmarks.environment import Environment, environment
from tds_new.benchmarks.errors import BenchmarkError
from tds_new.benchmarks.queries import PARTS, Bench, Sizes, measure
from tds_new.broker.mosquitto import find_mosquitto

pytestmark = pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto 2 is not installed")
TINY = Sizes(devices=12, months=2, samples=3, raw=1, checked=12)


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest) -> Iterator[Environment]:
    with environment(request.config.option.database) as servers:
        yield servers
    assert not servers.directory.exists()


def test_every_question_is_asked_of_a_data_set_that_is_right(made: Environment) -> None:
    found = measure(Bench(made, TINY, print))
    assert (found.filled["devices"], found.filled["contas"]) == (12, 5)
    assert found.filled["readings"] == 3 * found.filled["blocks"] > 12 * 288 * 60
    assert found.differing == 0
    names = [answer["name"] for answer in found.answers]
    assert len(names) == len(set(names)) > 10
    for answer in found.answers:
        assert answer["first"]["samples"] == answer["again"]["samples"] == TINY.samples
        assert 0 < answer["first"]["p50"] <= answer["first"]["p95"] <= answer["first"]["worst"]
        assert answer["statements"] >= 1
    assert sum(answer["raw"] is not None for answer in found.answers) > 10
    plain = json.loads(json.dumps(asdict(found)))
    text = "\n".join(PARTS["queries"].section(plain))
    assert text.isascii()
    assert all(f"| {name} | " in text for name in names)
    verdicts = PARTS["queries"].verdicts(plain)
    assert {verdict.asked for verdict in verdicts} == {"<= 50 ms", "<= 30 ms", "0"}
    assert verdicts[-1].met


def test_questions_that_cannot_be_asked_fail_the_measurement(made: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(made.variables, "SECRET_KEY", "")
    with made.connect() as connection:
        connection.execute("TRUNCATE tds_new_conta CASCADE")
    with pytest.raises(BenchmarkError, match="could not be asked"):
        measure(Bench(made, Sizes(devices=1, months=1, samples=1, raw=0, checked=0), print))
