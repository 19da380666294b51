"""MQTT topics: the addresses of gateways' messages, and matching by pattern."""

import re
from enum import StrEnum
from typing import NamedTuple

# The MAC of a gateway in any spelling, or its device_id.
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:-]{1,32}")


# The name of a share group that has fewer characters, or no digits among letters, is a word and not a secret.
_SECRET_LENGTH = 20


class Kind(StrEnum):
    """The kinds of message that gateways publish."""

    TELEMETRY = "telemetry"
    HEARTBEAT = "heartbeat"
    STATUS = "status"


KINDS = frozenset(kind.value for kind in Kind)


class Address(NamedTuple):
    """A gateway's identifier as written in the topic, and the kind of the message."""

    identifier: str
    kind: Kind


def parse_topic(topic: str, prefix: str) -> Address | None:
    """Return the address in ``{prefix}/{id}/{kind}``; None for any other topic."""
    if not topic.startswith(f"{prefix}/"):
        return None
    identifier, _, kind = topic[len(prefix) + 1 :].partition("/")
    if not _IDENTIFIER.fullmatch(identifier) or kind not in KINDS:
        return None
    return Address(identifier, Kind(kind))


def acknowledgement_topic(topic: str) -> str:
    """Return the topic for the answer to a message that came on ``topic``."""
    return f"{topic.rpartition('/')[0]}/ack"


def subscription(prefix: str, kind: Kind, share_group: str = "") -> str:
    """Return the filter for one kind of message of all gateways.

    With a ``share_group``, the consumers of that group share the messages.
    """
    pattern = f"{prefix}/+/{kind}"
    return f"$share/{share_group}/{pattern}" if share_group else pattern


def shown(pattern: str) -> str:
    """Return a filter as it may be logged: a share group's name is a secret."""
    share, _, rest = pattern.partition("/")
    return f"{share}/***/{rest.partition('/')[2]}" if share == "$share" else pattern


def is_guessable(share_group: str) -> bool:
    """Whether somebody could find the name of a share group by trying."""
    mixed = re.search("[0-9]", share_group) and re.search("[A-Za-z]", share_group)
    return len(share_group) < _SECRET_LENGTH or not mixed


def matches(pattern: str, topic: str) -> bool:
    """Whether ``topic`` matches an MQTT filter (MQTT 3.1.1, section 4.7).

    ``+`` stands for one level, ``#`` for the rest. A filter that starts with a wildcard does not match topics
    that start with ``$``.
    """
    if topic.startswith("$") and pattern[:1] in ("+", "#"):
        return False
    wanted, levels = pattern.split("/"), topic.split("/")
    for position, level in enumerate(wanted):
        if level == "#":
            return True
        if position >= len(levels) or (level != "+" and level != levels[position]):
            return False
    return len(wanted) == len(levels)
