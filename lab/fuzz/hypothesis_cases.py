"""Cases drawn by hypothesis, which shrinks failing ones by itself.

Needs hypothesis, a development tool.
"""

import json
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from lab.fuzz.cases import MAX_TOPIC, Case
from lab.fuzz.comparison import Failure
from lab.fuzz.memory import MemoryChecker

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.sampled_from(["valor", "timestamp"]), inner, max_size=4)
    ),
    max_leaves=12,
)
TIMES = st.sampled_from(
    ["2026-02-18T14:30:00Z", "2026-02-18T11:30:00.5-03:00", "2026-02-18", "2999-01-01T00:00:00Z"]
) | st.text(max_size=30)
VALUES = (
    st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.decimals(-(10**12), 10**12, places=6).map(str)
    | st.none()
)
READINGS = st.fixed_dictionaries(
    {"dispositivo_codigo": st.sampled_from(["D01", "D02", "D03", "D04"]) | st.text(max_size=5)},
    optional={
        "valor": VALUES,
        "unidade": st.sampled_from(["kWh", "m³", "°C", None]) | JSON,
        "timestamp": TIMES | JSON,
        "extra": JSON,
    },
)
MESSAGES = st.fixed_dictionaries(
    {"leituras": st.lists(READINGS | JSON, max_size=5)},
    optional={
        "timestamp": TIMES | st.none(),
        "seq": st.integers() | JSON,
        "gateway_mac": st.text() | st.none(),
        "extra": JSON,
    },
)


def _encode(document: Any, *, ascii_only: bool) -> bytes:
    return json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


PAYLOADS = st.one_of(
    st.builds(_encode, MESSAGES, ascii_only=st.booleans()),
    st.builds(_encode, MESSAGES | JSON, ascii_only=st.booleans()),
    st.binary(),
)


def check_drawn(memory: MemoryChecker, number: int, count: int) -> None:
    """Check ``count`` cases drawn with this seed.

    The first that goes wrong, shrunk, goes to the totals.
    """
    gateway = memory.fleet.gateways[0]
    kinds = st.sampled_from(["telemetry"] * 6 + ["heartbeat", "status"])
    proper = kinds.map(lambda kind: f"{memory.prefix}/{gateway.mac}/{kind}".encode())
    topics = st.one_of(
        proper,
        proper,
        proper,
        st.binary(max_size=40),
        st.text().map(lambda text: text.encode("utf-8", "surrogatepass")),
    )
    last: list[Failure] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(topics, PAYLOADS)
    def check(topic: bytes, payload: bytes) -> None:
        case = Case(0, "drawn", topic[:MAX_TOPIC], payload)
        problems = memory.problems_of(case, count=True)
        if problems:
            last[:] = [Failure(case, problems, "drawn by hypothesis")]
            raise AssertionError(problems[0])

    try:
        check()
    except AssertionError:
        memory.totals.failures += last
