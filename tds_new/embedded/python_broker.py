"""Run a broker in Python (amqtt) where no Mosquitto is installed.

It has the same accounts and access rules. It is for demonstration only: it speaks MQTT 3.1.1, has no share
groups, and forgets unacknowledged messages when it ends. The module is also the program of its child process,
``python -m tds_new.embedded.python_broker DIRECTORY PORT``; that part needs no Django.
"""

import asyncio
import logging
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from amqtt.broker import Broker
from amqtt.contexts import Action
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from tds_new.broker.accounts import opens
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
    """

    def __init__(self, directory: Path, port: int = 0) -> None:
        self.directory = directory.resolve()
        self.files = BrokerFiles(self.directory)
        self.port = self.device_port = port or free_port()
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
        with (self.directory / "log").open("wb") as log:
            self._process = child.spawn(
                [*program, str(self.directory), str(self.port)], own_session=True, output=log, folder=ROOT
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
        return opens(self.lines.get(session.username or "", ""), session.password or "")


class AccessRules(BaseTopicPlugin):  # type: ignore[misc]
    """Allow what the ACL file allows.

    Every subscription is accepted and each delivery is checked, as Mosquitto does it.
    """

    rules: dict[tuple[str, str], list[str]] = {}

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        """Return whether the session's user may publish to ``topic`` or receive from it."""
        if action == Action.SUBSCRIBE:
            return True
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


async def _serve(directory: Path, port: int) -> None:
    files = BrokerFiles(directory)
    Accounts.lines = {
        line.split(":", 1)[0]: line for line in files.passwords.read_text(encoding="ascii").splitlines()
    }
    AccessRules.rules = read_rules(files.acl.read_text(encoding="utf-8"))
    plugins: dict[str, Any] = {
        f"tds_new.embedded.python_broker.{plugin.__name__}": {} for plugin in (Accounts, AccessRules)
    }
    broker = Broker(
        {"listeners": {"default": {"type": "tcp", "bind": f"{LOOPBACK}:{port}"}}, "plugins": plugins}
    )
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
    asyncio.run(python_broker._serve(Path(sys.argv[1]), int(sys.argv[2])))
