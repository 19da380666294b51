"""Run a broker in Python (amqtt) where no Mosquitto is installed.

It has the same accounts and access rules. It is for demonstration only: it speaks MQTT 3.1.1, has no share
groups, and forgets unacknowledged messages when it ends. The module is also the program of its child process,
``python -m tds_new.embedded.python_broker DIRECTORY PORT [WEBSOCKET_PORT]``; that part needs no Django.
"""

import asyncio
import logging
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import amqtt.broker
from amqtt.broker import Broker
from amqtt.contexts import Action
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from tds_new.broker.accounts import PLATFORM_USERS, opens
from tds_new.broker.files import BrokerFiles
from tds_new.embedded import child
from tds_new.embedded.ports import LOOPBACK, free_port

START_TIMEOUT_S, STOP_TIMEOUT_S = 30, 10
ROOT = Path(__file__).resolve().parent.parent.parent


class PythonBrokerError(Exception):
    """The Python broker does not start; the text says why."""


class PythonBroker:
    """A broker in a child process on the loopback address.

    ``directory`` has its accounts and its log. ``port`` stays the same over restarts; 0 means any free port.
    ``websocket_port`` is one for WebSockets; None means that there are none.
    """

    def __init__(self, directory: Path, port: int = 0, websocket_port: int | None = None) -> None:
        self.directory = directory.resolve()
        self.files = BrokerFiles(self.directory)
        self.port = self.device_port = port or free_port()
        self.websocket_port = websocket_port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The broker's process id; None while it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Start the broker and wait until it takes connections.

        Raises PythonBrokerError if it does not.
        """
        program = [sys.executable, "-m", "tds_new.embedded.python_broker"]
        ports = [self.port] if self.websocket_port is None else [self.port, self.websocket_port]
        with (self.directory / "log").open("wb") as log:
            self._process = child.spawn(
                [*program, str(self.directory), *map(str, ports)], own_session=True, output=log, folder=ROOT
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(self.port):
            if self.pid is None or time.monotonic() > deadline:
                self.stop()
                raise PythonBrokerError(f"the Python broker did not start; see {self.directory / 'log'}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the broker; unacknowledged messages are lost."""
        if self._process is not None:
            child.end(self._process, signal.SIGTERM, STOP_TIMEOUT_S)
            self._process = None


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


# --- the child process --------------------------------------------------------------------------------------
class Accounts(BaseAuthPlugin):  # type: ignore[misc]
    """Accept a client that knows the password of its line in the password file."""

    lines: dict[str, str] = {}

    async def authenticate(self, *, session: Session) -> bool:
        """Return whether the session's password is the one of its user name."""
        return _knows_password(session)


def _knows_password(session: Session) -> bool:
    return opens(Accounts.lines.get(session.username or "", ""), session.password or "")


class OwnClientId(BrokerProtocolHandler):  # type: ignore[misc]
    """Give a client the client id that it may have, before its session is looked up.

    amqtt looks a session up, and clears it where the client asks for that, before it asks for the password.
    A stranger gets a client id that nobody has, and a gateway its user name. The platform's users choose.
    """

    @classmethod
    async def init_from_connect(cls, *args: Any, **options: Any) -> tuple[BrokerProtocolHandler, Session]:
        """Read CONNECT, and return the handler and the session of the client."""
        handler, session = await super().init_from_connect(*args, **options)
        if not _knows_password(session):
            session.client_id = f"stranger-{secrets.token_hex(16)}"
        elif session.username not in PLATFORM_USERS:
            session.client_id = session.username
        return handler, session


class AccessRules(BaseTopicPlugin):  # type: ignore[misc]
    """Allow what the ACL file allows.

    Every subscription but one to a share group is accepted and each delivery is checked, as Mosquitto does
    it.
    """

    rules: dict[tuple[str, str], list[str]] = {}

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        """Return whether the session's user may publish to ``topic`` or receive from it."""
        if action == Action.SUBSCRIBE:
            return not (topic or "").startswith("$share/")
        allowed = self.rules.get(
            ((session.username or "") if session else "", "write" if action == Action.PUBLISH else "read"), []
        )
        return any(_covers(rule.split("/"), (topic or "").split("/")) for rule in allowed)


def _covers(rule: list[str], topic: list[str]) -> bool:
    """Return whether a topic matches a rule with wildcards; both as lists of levels."""
    if rule[0] == "#" and topic[0].startswith("$"):
        return False
    for number, level in enumerate(rule):
        if level == "#":
            return True
        if number >= len(topic) or level not in ("+", topic[number]):
            return False
    return len(rule) == len(topic)


def read_rules(text: str) -> dict[tuple[str, str], list[str]]:
    """Return the topics of an ACL file by user and access (``read`` or ``write``)."""
    rules: dict[tuple[str, str], list[str]] = defaultdict(list)
    user = ""
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "user":
            user = rest
        elif word == "topic":
            access, _, topic = rest.partition(" ")
            for each in ("read", "write"):
                if access in (each, "readwrite"):
                    rules[user, each].append(topic)
    return dict(rules)


async def _serve(directory: Path, port: int, websocket_port: int | None = None) -> None:
    files = BrokerFiles(directory)
    Accounts.lines = {
        line.split(":", 1)[0]: line for line in files.passwords.read_text(encoding="ascii").splitlines()
    }
    AccessRules.rules = read_rules(files.acl.read_text(encoding="utf-8"))
    plugins: dict[str, Any] = {
        f"tds_new.embedded.python_broker.{plugin.__name__}": {} for plugin in (Accounts, AccessRules)
    }
    listeners = {"default": {"type": "tcp", "bind": f"{LOOPBACK}:{port}"}}
    if websocket_port is not None:
        listeners["websockets"] = {"type": "ws", "bind": f"{LOOPBACK}:{websocket_port}"}
    amqtt.broker.BrokerProtocolHandler = OwnClientId
    broker = Broker({"listeners": listeners, "plugins": plugins})
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await broker.start()
    await stop.wait()
    await broker.shutdown()


if __name__ == "__main__":
    # amqtt imports the plugins by their module's name, so their state must be in that module, not in
    # __main__.
    from tds_new.embedded import python_broker

    logging.basicConfig(level=logging.WARNING)
    asyncio.run(python_broker._serve(Path(sys.argv[1]), *map(int, sys.argv[2:])))
