"""Topics: the contract's addresses in every spelling, and matching by pattern."""

import pytest

from tds_new.ingestion.topics import (
    Address,
    Kind,
    acknowledgement_topic,
    is_guessable,
    matches,
    parse_topic,
    shown,
    subscription,
)
from tds_new.mac import normalise_mac

pytestmark = pytest.mark.once

PREFIX = "tds_new/devices"


@pytest.mark.parametrize("identifier", ["aa:bb:cc:dd:ee:ff", "AA-BB-CC-DD-EE-FF", "AaBbCcDdEeFf"])
@pytest.mark.parametrize("kind", list(Kind))
def test_a_gateway_is_addressed_by_its_mac_in_any_spelling(identifier: str, kind: Kind) -> None:
    assert parse_topic(f"{PREFIX}/{identifier}/{kind}", PREFIX) == Address(identifier, kind)
    assert normalise_mac(identifier) == "aa:bb:cc:dd:ee:ff"


@pytest.mark.parametrize(
    ("topic", "prefix"), [("devices/abc123/telemetry", "devices"), ("a/b/c/abc123/telemetry", "a/b/c")]
)
def test_the_prefix_is_a_setting_and_a_gateway_may_have_a_name(topic: str, prefix: str) -> None:
    assert parse_topic(topic, prefix) == Address("abc123", Kind.TELEMETRY)
    assert parse_topic(topic, PREFIX) is None


@pytest.mark.parametrize(
    "topic",
    [
        "", "/", PREFIX, f"{PREFIX}/", f"{PREFIX}/a", f"{PREFIX}/a/", f"{PREFIX}//telemetry",
        f"{PREFIX}/a/Telemetry", f"{PREFIX}/a/ack",
        f"{PREFIX}/a/telemetry/", f"{PREFIX}/a/telemetry/x", f"{PREFIX}/a/b/telemetry",
        f"/{PREFIX}/a/telemetry", f"{PREFIX}s/a/telemetry",
        f"{PREFIX}/+/telemetry", f"{PREFIX}/#", f"{PREFIX}/a b/telemetry", f"{PREFIX}/a\n/telemetry",
        f"{PREFIX}/á/telemetry",
        f"{PREFIX}/{'a' * 33}/telemetry", f"{PREFIX}/a\0/telemetry",
        f"{PREFIX}/aa:bb:cc:dd:ee:ff\n/telemetry", "$SYS/broker/uptime",
        f"$share/g/{PREFIX}/a/telemetry", "x" * 65_535, "/" * 200, f"{PREFIX}/a/commands/x",
        f"{PREFIX}/\ufffd/telemetry",
    ],
)  # fmt: skip
def test_any_other_topic_is_none_of_ours(topic: str) -> None:
    assert parse_topic(topic, PREFIX) is None


def test_the_answer_goes_beside_the_question_as_the_gateway_spelt_itself() -> None:
    assert acknowledgement_topic("devices/ABC-1/telemetry") == "devices/ABC-1/ack"


def test_a_subscription_is_to_all_gateways_shared_where_a_group_is_named() -> None:
    assert subscription("devices", Kind.STATUS) == "devices/+/status"
    assert subscription(PREFIX, Kind.TELEMETRY, "g1") == f"$share/g1/{PREFIX}/+/telemetry"


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("a/b", "a/b", True), ("a/b", "a/b/c", False), ("a/b", "a", False), ("a/b", "A/b", False),
        ("a", "a/", False), ("a/", "a/", True),
        ("+", "a", True), ("+", "a/b", False), ("+", "", True), ("+/+", "/a", True), ("+/+", "a", False),
        ("/+", "/a", True),
        ("+", "/a", False),
        ("a/+/c", "a/b/c", True), ("a/+/c", "a//c", True), ("a/+/c", "a/b/d", False),
        ("a/+/c", "a/b/b/c", False), ("a/+", "a", False),
        ("#", "a", True), ("#", "a/b/c", True), ("a/#", "a", True), ("a/#", "a/", True),
        ("a/#", "a/b/c", True), ("a/#", "ab", False),
        ("a/+/#", "a", False), ("a/+/#", "a/b", True), ("+/#", "a/b", True),
        ("#", "$SYS/x", False), ("+/x", "$SYS/x", False), ("$SYS/#", "$SYS/x", True),
        ("$SYS/+", "$SYS/x", True), ("a/+", "a/$x", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
        ("sport/+/player1", "sport/tennis/player1", True),
    ],
)  # fmt: skip
def test_patterns_match_as_the_standard_says(pattern: str, topic: str, expected: bool) -> None:
    assert matches(pattern, topic) is expected


def test_a_share_groups_name_is_not_logged() -> None:
    assert shown(f"$share/secret/{PREFIX}/+/telemetry") == f"$share/***/{PREFIX}/+/telemetry"
    assert shown(f"{PREFIX}/+/telemetry") == f"{PREFIX}/+/telemetry"


@pytest.mark.parametrize(
    ("group", "guessable"),
    [
        ("ingestion", True), ("g", True), ("a" * 64, True), ("leituras-do-grupo-geral", True),
        ("Xk3vQ9pLwzR7tB1nYc5mJd8sFhGa2eUo", False),
    ],
)  # fmt: skip
def test_a_short_or_plain_name_of_a_share_group_can_be_guessed(group: str, guessable: bool) -> None:
    assert is_guessable(group) is guessable
