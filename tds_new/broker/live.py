"""Tell a running Mosquitto of new gateways before it lets them in."""

import json
import queue
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tds_new.broker.accounts import CONTROL_TOPIC
from tds_new.broker.restrictions import commands
from tds_new.ingestion.message import Message
from tds_new.ingestion.transport import BrokerConfig, MQTTSubscriber

ANSWER_TIMEOUT_S = 10.0
# Mosquitto answers nobody else meanwhile, and writes its whole file again for each: with more a restart is
# better.
MOST_AT_ONCE = 500
COMMANDS, RESPONSES = f"{CONTROL_TOPIC}/v1", f"{CONTROL_TOPIC}/v1/response"
_KNOWN = ("already exists",)


class BrokerNotToldError(Exception):
    """The running broker could not be told; the text says why."""


def restrict(config: BrokerConfig, users: Sequence[str]) -> int | None:
    """Have the running broker restrict the users of all gateways.

    ``config`` is how its administrator connects. Returns how many users it did not know, or None where no
    broker runs there: it reads its files when it starts. Raises BrokerNotToldError.
    """
    if not _listens(config):
        return None
    with _Administrator(config) as administrator:
        listed = administrator.ask([{"command": "listClients", "verbose": False, "count": -1, "offset": 0}])
        known = set(listed[0]["data"]["clients"])
        new = [user for user in users if user not in known]
        if len(new) > MOST_AT_ONCE:
            raise BrokerNotToldError(
                f"{len(new)} gateways are new to it, and it takes {MOST_AT_ONCE} while it runs"
            )
        if new:
            administrator.ask(commands(new))
    return len(new)


def _listens(config: BrokerConfig) -> bool:
    try:
        socket.create_connection((config.host, config.port), timeout=ANSWER_TIMEOUT_S).close()
    except OSError:
        return False
    return True


class _Administrator:
    """A connection that asks Mosquitto's plugin."""

    def __init__(self, config: BrokerConfig) -> None:
        self._answers: queue.Queue[bytes] = queue.Queue()
        self._client = MQTTSubscriber(config, "provision_broker")
        self._client.register_handler(RESPONSES, self._receive)
        self._client.subscribe(RESPONSES)

    def __enter__(self) -> "_Administrator":
        self._client.start()
        if not _comes_true(lambda: self._client.subscribed):
            self._client.disconnect()
            raise BrokerNotToldError("it does not let the user admin of these files in")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()

    def ask(self, wanted: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the answers to commands, one each.

        Raises BrokerNotToldError for an error among them.
        """
        self._client.publish(COMMANDS, json.dumps({"commands": wanted}).encode())
        try:
            answers: list[dict[str, Any]] = json.loads(self._answers.get(timeout=ANSWER_TIMEOUT_S))[
                "responses"
            ]
        except queue.Empty:
            raise BrokerNotToldError(
                "it does not answer: it runs without the plugin, or with older access rules"
            ) from None
        if errors := list(_errors(answers)):
            raise BrokerNotToldError(f"it answers: {errors[0]}")
        return answers

    def _receive(self, message: Message) -> None:
        self._answers.put(message.payload)
        self._client.ack([message])


def _errors(answers: Sequence[dict[str, Any]]) -> Iterator[str]:
    for answer in answers:
        error = str(answer.get("error", ""))
        if error and not error.endswith(_KNOWN):
            yield error


def _comes_true(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()
