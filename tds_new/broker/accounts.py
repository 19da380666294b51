"""Make the lines of Mosquitto's password file and its access rules.

All functions are pure.
"""

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from tds_new.mac import normalise_mac

ADMIN, BACKEND, DASHBOARD = "admin", "django_backend", "dashboard"
PLATFORM_USERS = (ADMIN, BACKEND, DASHBOARD)

FROM_GATEWAY = ("telemetry", "heartbeat", "status")
TO_GATEWAY = ("ack", "commands/#")

# Mosquitto 2.0 refuses any other length of salt. It hashes in its only thread, and 200,000 iterations take
# 0.1 s a connection. Our secrets are random, so more iterations than its default of 101 would add no
# protection.
SALT_BYTES, ITERATIONS = 12, 101

_TOPIC_LEVEL = re.compile(r"[A-Za-z0-9_.-]{1,20}")


@dataclass(frozen=True, slots=True)
class GatewayAccount:
    """A gateway's account at the broker.

    ``mac`` is its MAC in any spelling; ``device_id`` is the name under which it publishes where that is not
    its MAC.
    """

    mac: str
    device_id: str = ""

    @property
    def user(self) -> str:
        """The user name: the MAC as 12 lower-case hexadecimal digits.

        A password file cannot hold colons. Raises ValueError if ``mac`` is not a MAC.
        """
        return canonical(self.mac).replace(":", "")

    @property
    def identifiers(self) -> tuple[str, ...]:
        """Every ``{id}`` in a topic that the platform takes for this gateway.

        The access rules must allow all of them: to an MQTT 3.1.1 client Mosquitto acknowledges a message that
        it drops for want of a rule. Of a MAC these are all lower-case and all upper-case letters, with ``:``,
        ``-`` or nothing between; a mixed one has too many spellings to allow each. Raises ValueError if
        ``mac`` is not a MAC, or ``device_id`` is one or is not one level of a topic.
        """
        lower = canonical(self.mac)
        spellings = [
            spelling
            for text in (lower, lower.upper())
            for spelling in (text, text.replace(":", "-"), text.replace(":", ""))
        ]
        if self.device_id:
            if not _TOPIC_LEVEL.fullmatch(self.device_id):
                raise ValueError(f"device_id {self.device_id!r} cannot be a level of a topic")
            if normalise_mac(self.device_id):  # it would open the topics of the gateway with that MAC
                raise ValueError(f"device_id {self.device_id!r} is a MAC")
            spellings.append(self.device_id)
        return tuple(dict.fromkeys(spellings))  # a MAC of digits alone has no other case

    def topic(self, prefix: str, leaf: str = "telemetry") -> str:
        """Return the topic that a gateway is told to use.

        Its level is ``device_id`` where there is one, else the user name. Raises ValueError as
        :attr:`identifiers` does.
        """
        return f"{prefix}/{self.device_id or self.user}/{leaf}"


def canonical(mac: str) -> str:
    """Return the MAC as ``aa:bb:cc:dd:ee:ff``.

    Raises ValueError if it is not a MAC.
    """
    value = normalise_mac(mac)
    if value is None:
        raise ValueError(f"{mac!r} is not a MAC")
    return value


def password_line(user: str, secret: str, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """Return a line of the password file: PBKDF2 with SHA-512, 64 bytes (``$7$``).

    ``salt`` is random where it is not given. Raises ValueError for a user name that would break the file.
    """
    if not user or any(c in user for c in ":\r\n\0"):
        raise ValueError(f"{user!r} cannot be a user name in a password file")
    salt = os.urandom(SALT_BYTES) if salt is None else salt
    key = hashlib.pbkdf2_hmac("sha512", secret.encode("utf-8"), salt, iterations, 64)
    return f"{user}:$7${iterations}${_base64(salt)}${_base64(key)}"


def opens(line: str, secret: str) -> bool:
    """Return whether ``secret`` is the password of this line of a password file."""
    try:
        user, hashed = line.split(":", 1)
        _empty, kind, iterations, salt, _key = hashed.split("$")
        computed = (
            password_line(user, secret, base64.b64decode(salt, validate=True), int(iterations))
            if kind == "7"
            else ""
        )
    except ValueError:
        return False
    return hmac.compare_digest(computed, line)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def acl_text(prefix: str, gateways: Iterable[GatewayAccount]) -> str:
    """Return the access rules of the platform's users and the gateways.

    All topics begin with ``prefix``. Everything else is refused. A shared subscription (``$share/...``) needs
    no rule but the topic's own; who may make one is in :mod:`tds_new.broker.restrictions`. 10,000 gateways
    make 300,000 rules: 16 MB, which Mosquitto 2.0.11 reads in 10 s at its start and at each SIGHUP
    (measured).
    """
    every = [f"{prefix}/+/{leaf}" for leaf in FROM_GATEWAY]
    sections = [
        _section(ADMIN, both=["#", "$SYS/#"]),
        _section(BACKEND, read=[*every, "$SYS/#"], write=[f"{prefix}/+/{leaf}" for leaf in TO_GATEWAY]),
        _section(DASHBOARD, read=[*every, "$SYS/#"]),
    ]
    for gateway in gateways:
        own = [f"{prefix}/{identifier}" for identifier in gateway.identifiers]
        sections.append(
            _section(
                gateway.user,
                write=[f"{topic}/{leaf}" for topic in own for leaf in FROM_GATEWAY],
                read=[f"{topic}/{leaf}" for topic in own for leaf in TO_GATEWAY],
            )
        )
    return "# Written by `python manage.py provision_broker`; changes made here are lost.\n" + "\n".join(
        sections
    )


def _section(user: str, read: Iterable[str] = (), write: Iterable[str] = (), both: Iterable[str] = ()) -> str:
    rules = [
        f"topic {access} {topic}\n"
        for access, topics in (("read", read), ("write", write), ("readwrite", both))
        for topic in topics
    ]
    return f"user {user}\n" + "".join(rules)
