"""What Mosquitto must know of people and gateways: lines of its password file and its access rules. Pure functions."""

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

# Mosquitto 2.0 refuses any other length of salt. It hashes on its only thread, 200,000 iterations for 0.1 s a connection; our
# secrets are random, so more than its default of 101 iterations would protect nothing.
SALT_BYTES, ITERATIONS = 12, 101

_TOPIC_LEVEL = re.compile(r"[A-Za-z0-9_.-]{1,20}")


@dataclass(frozen=True, slots=True)
class GatewayAccount:
    """A gateway as the broker knows it: by its MAC, and by its ``device_id`` where it publishes under one."""

    mac: str
    device_id: str = ""

    @property
    def user(self) -> str:
        """The user name: the MAC as 12 lower-case hexadecimal digits, because a password file cannot hold colons.

        Raises ValueError where the MAC is none.
        """
        return canonical(self.mac).replace(":", "")

    @property
    def identifiers(self) -> tuple[str, ...]:
        """Every ``{id}`` that the platform takes for this gateway in a topic.

        All spellings are allowed by the broker too: to an MQTT 3.1.1 client Mosquitto acknowledges what it then drops.
        Raises ValueError where the ``device_id`` could reach another topic.
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
            spellings.append(self.device_id)
        return tuple(dict.fromkeys(spellings))  # a MAC of digits alone has no other case


def canonical(mac: str) -> str:
    """The MAC as ``aa:bb:cc:dd:ee:ff``. Raises ValueError where it is none."""
    value = normalise_mac(mac)
    if value is None:
        raise ValueError(f"{mac!r} is not a MAC")
    return value


def password_line(user: str, secret: str, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """A line of the password file: PBKDF2 with SHA-512, 64 bytes (``$7$``). Raises ValueError for a name that would break it."""
    if not user or any(c in user for c in ":\r\n\0"):
        raise ValueError(f"{user!r} cannot be a user name in a password file")
    salt = os.urandom(SALT_BYTES) if salt is None else salt
    key = hashlib.pbkdf2_hmac("sha512", secret.encode("utf-8"), salt, iterations, 64)
    return f"{user}:$7${iterations}${_base64(salt)}${_base64(key)}"


def opens(line: str, secret: str) -> bool:
    """Whether ``secret`` is the password of this line of a password file."""
    try:
        user, hashed = line.split(":", 1)
        _empty, kind, iterations, salt, _key = hashed.split("$")
        made = (
            password_line(user, secret, base64.b64decode(salt, validate=True), int(iterations))
            if kind == "7"
            else ""
        )
    except ValueError:
        return False
    return hmac.compare_digest(made, line)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def acl_text(prefix: str, gateways: Iterable[GatewayAccount]) -> str:
    """The access rules. What is not allowed here is refused; ``$share/...`` follows from the topic itself.

    10,000 gateways make 300,000 rules: 16 MB, which Mosquitto 2.0.11 reads in 10 s at its start and at each SIGHUP (measured).
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
