"""A gateway for TDS New: no reading that it has taken is lost or doubled.

It reads meters, keeps every message on disk until the platform says that it is stored, and sends again what
is not. Copy this file and replace the source (``--source``). It needs Python 3.11 and paho-mqtt 2; see
README.md beside it.

Two threads share nothing but the queue, a SQLite file:

    main thread      read() ──► queue          at every interval, broker or no broker
    network thread   queue ──► broker          at most --window messages under way, each with a number ("seq")
                     {"seq": n} on .../ack     the platform has committed message n: now it leaves the queue
                     {"seq": n, "erro": "…"}   it has refused message n for good: put aside, never sent again

A PUBACK of the broker is not enough: the broker may lose what it acknowledged (power cut). The platform's
answer comes after the commit. Sending twice is free, because the platform stores a reading (device, time)
once.
"""

import argparse
import importlib
import json
import logging
import math
import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

logger = logging.getLogger("gateway")

FIRMWARE = "example-1.0"
CONNECT_TIMEOUT_S = 10.0
STABLE_S = 10.0  # a connection that lasted so long resets the delays
LONGEST_DELAY_S, LONGEST_RESEND_S = 60.0, 600.0
REFUSED_KEPT = 1_000  # the newest messages that the platform has refused stay in the file, to be looked at


class Reading(NamedTuple):
    """One value of one device.

    ``value`` is a decimal number as text, so that it arrives exactly as it was read.
    """

    device: str
    value: str
    unit: str


Source = Callable[[], list[Reading]]


def demo_source() -> list[Reading]:
    """Return what meters might say; put your Modbus reads in its place.

    A register rises 1 kWh an hour, and a temperature swings with the day.
    """
    hours = time.time() / 3600
    return [
        Reading("D01", f"{hours % 1_000_000:.4f}", "kWh"),
        Reading("D03", f"{23 + 4 * math.sin(hours / 24 * 2 * math.pi):.1f}", "°C"),
    ]


class Queue:
    """Messages on disk, in order.

    What :meth:`put` has returned from survives kill -9 and a power cut.

    One object for each thread; the file is shared. Raises sqlite3.Error where the disk does not take it.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._limit = limit
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")  # each commit reaches the disk
        self._db.execute("BEGIN IMMEDIATE")
        # AUTOINCREMENT: a number is never used again. The first one is the time in ms, so that late answers
        # to messages of a lost file are not taken for answers to those of its successor.
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS message (seq INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL)"
        )
        if self._db.execute("SELECT 1 FROM sqlite_sequence").fetchone() is None:
            self._db.execute(
                "INSERT INTO sqlite_sequence (name, seq) VALUES ('message', ?)", (int(time.time() * 1000),)
            )
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS refused"
            " (seq INTEGER PRIMARY KEY, reason TEXT NOT NULL, body TEXT NOT NULL)"
        )
        self._db.execute("COMMIT")

    def put(self, body: Mapping[str, object]) -> bool:
        """Keep a message.

        Return False if the queue is full: the oldest messages are kept.
        """
        if len(self) >= self._limit:
            return False
        self._db.execute("INSERT INTO message (body) VALUES (?)", (json.dumps(body, ensure_ascii=False),))
        return True

    def after(self, seq: int, count: int) -> list[tuple[int, str]]:
        """Return number and payload of the next messages above ``seq``, at most ``count``."""
        rows = self._db.execute(
            "SELECT seq, body FROM message WHERE seq > ? ORDER BY seq LIMIT ?", (seq, count)
        )
        return [(number, self._payload(number, body)) for number, body in rows]

    def get(self, seq: int) -> str:
        """Return the payload of a queued message.

        Raises LookupError if it is not there.
        """
        row = self._db.execute("SELECT body FROM message WHERE seq = ?", (seq,)).fetchone()
        if row is None:
            raise LookupError(seq)
        return self._payload(seq, row[0])

    def settle(self, answers: Mapping[int, str]) -> None:
        """Forget messages that the platform has answered, in one transaction.

        ``answers`` has the reason of each refusal by number, empty where the message is stored. What is
        refused goes to the table ``refused``: to send it again would change nothing.
        """
        refused = [(reason, number) for number, reason in answers.items() if reason]
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(
            "INSERT OR REPLACE INTO refused SELECT seq, ?, body FROM message WHERE seq = ?", refused
        )
        if refused:
            self._db.execute(
                "DELETE FROM refused WHERE seq NOT IN (SELECT seq FROM refused ORDER BY seq DESC LIMIT ?)",
                (REFUSED_KEPT,),
            )
        self._db.executemany("DELETE FROM message WHERE seq = ?", [(number,) for number in answers])
        self._db.execute("COMMIT")

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM message").fetchone()[0])

    @staticmethod
    def _payload(seq: int, body: str) -> str:
        return json.dumps({**json.loads(body), "seq": seq}, ensure_ascii=False)


class Window:
    """The messages under way on one connection, at most ``size``.

    Each has the time at which it is sent again.
    """

    def __init__(self, size: int, resend_after: float) -> None:
        self._size, self._resend_after = size, resend_after
        self._due: dict[int, tuple[float, float]] = {}  # number -> when, and how long it waited last
        self.last = 0  # the highest number sent

    @property
    def room(self) -> int:
        """The number of further messages that may be under way."""
        return self._size - len(self._due)

    def sent(self, seq: int, now: float) -> None:
        """Note that a message was sent.

        The second wait is twice as long as the first, and so on, up to ten minutes.
        """
        wait = min(self._due[seq][1] * 2, LONGEST_RESEND_S) if seq in self._due else self._resend_after
        self._due[seq] = now + wait, wait
        self.last = max(self.last, seq)

    def answered(self, seq: int) -> None:
        """Note that the platform has stored a message, or refused it for good."""
        self._due.pop(seq, None)

    def overdue(self, now: float) -> list[int]:
        """Return the numbers to send again."""
        return [seq for seq, (due, _) in self._due.items() if due <= now]


class Link:
    """The network thread: connects, sends what is queued, connects again."""

    def __init__(self, options: argparse.Namespace, stop: threading.Event) -> None:
        self._options, self._stop = options, stop
        self._base = f"{options.prefix}/{options.id}"
        self._started = time.monotonic()
        self._answers: dict[int, str] = {}  # why a message was refused by its number; empty: it is stored

    def run(self) -> None:
        """Connect again and again until told to stop.

        Delays between connections are 1 s doubling to 60 s, of which up to half is left to chance.
        """
        queue, attempt = Queue(self._options.queue, self._options.limit), 0
        while not self._stop.is_set():
            opened = time.monotonic()
            try:
                self._session(queue)
            except (OSError, ValueError) as error:
                logger.warning("no connection to %s:%d: %s", self._options.host, self._options.port, error)
            attempt = 1 if time.monotonic() - opened > STABLE_S else attempt + 1
            delay = min(LONGEST_DELAY_S, 2.0 ** min(attempt - 1, 10)) * (0.5 + random.random() / 2)
            if not self._stop.is_set():
                logger.info("%d messages wait; next try in %.1f s", len(queue), delay)
            self._stop.wait(delay)

    def _session(self, queue: Queue) -> None:
        """Run one connection, from CONNECT to its end.

        It has a client of its own: paho would send again what an older one had under way.
        """
        client, window = self._client(), Window(self._options.window, self._options.resend_after)
        client.connect(self._options.host, self._options.port, self._options.keepalive)
        try:
            self._exchange(client, window, queue)
        finally:
            if (sock := client.socket()) is not None:
                sock.close()

    def _exchange(self, client: mqtt.Client, window: Window, queue: Queue) -> None:
        heartbeat_due, deadline = 0.0, time.monotonic() + CONNECT_TIMEOUT_S
        while client.loop(0.1) == mqtt.MQTT_ERR_SUCCESS:
            now = time.monotonic()
            self._settle(window, queue)
            if not self._subscribed:
                if now > deadline:
                    raise TimeoutError(
                        "the broker does not answer, or does not grant the subscription of the answers"
                    )
                continue
            if self._stop.is_set():
                self._say_goodbye(client)
                self._settle(window, queue)
                return
            if now >= heartbeat_due:
                heartbeat_due = now + self._options.heartbeat
                self._beat(client)
            for seq in window.overdue(now):
                self._send(client, window, seq, queue.get(seq))
            for seq, payload in queue.after(window.last, window.room):
                self._send(client, window, seq, payload)
        logger.warning("the connection was lost")

    def _client(self) -> mqtt.Client:
        options, self._subscribed = self._options, False
        client_id = options.username or f"gateway-{options.id}"  # the platform's broker grants no other
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, clean_session=True)
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages_set(0)  # the window is ours
        if options.username:
            client.username_pw_set(options.username, options.password)
        if options.tls:
            client.tls_set(
                options.ca, options.cert, options.key
            )  # without --ca the system's authorities; checks the broker's name
        client.will_set(f"{self._base}/status", "offline", qos=1, retain=True)
        client.on_connect, client.on_subscribe, client.on_message = (
            self._on_connect,
            self._on_subscribe,
            self._on_message,
        )
        return client

    def _on_connect(
        self, client: mqtt.Client, _userdata: object, _flags: object, reason: ReasonCode, _properties: object
    ) -> None:
        if reason.is_failure:
            logger.error("the broker refused the connection: %s", reason)
        else:
            client.subscribe(
                f"{self._base}/ack", 1
            )  # first: an answer to what is sent before it would be missed

    def _on_subscribe(
        self,
        client: mqtt.Client,
        _userdata: object,
        _mid: int,
        reasons: list[ReasonCode],
        _properties: object,
    ) -> None:
        self._subscribed = not reasons[0].is_failure
        if self._subscribed:
            logger.info("connected to %s:%d", self._options.host, self._options.port)
            client.publish(f"{self._base}/status", "online", 1, retain=True)

    def _on_message(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        try:
            answer = json.loads(message.payload)
            seq, reason = int(answer["seq"]), str(answer.get("erro", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            logger.warning("not an answer: %r", message.payload[:100])
            return
        self._answers[seq] = reason
        if reason:
            logger.error("the platform has refused message %d for good: %s", seq, reason)

    def _settle(self, window: Window, queue: Queue) -> None:
        """Remove what is answered from the queue and from the window."""
        if self._answers:
            queue.settle(self._answers)
            for seq in self._answers:
                window.answered(seq)
            self._answers.clear()

    def _send(self, client: mqtt.Client, window: Window, seq: int, payload: str) -> None:
        client.publish(f"{self._base}/telemetry", payload, 1)
        window.sent(seq, time.monotonic())

    def _beat(self, client: mqtt.Client) -> None:
        body = {"firmware_version": FIRMWARE, "uptime_s": int(time.monotonic() - self._started)}
        client.publish(f"{self._base}/heartbeat", json.dumps(body), 0)

    def _say_goodbye(self, client: mqtt.Client) -> None:
        """Say offline, and wait until the broker has that.

        Messages without an answer stay in the queue.
        """
        last = client.publish(f"{self._base}/status", "offline", 1, retain=True)
        deadline = time.monotonic() + 2.0
        while (
            not last.is_published()
            and time.monotonic() < deadline
            and client.loop(0.1) == mqtt.MQTT_ERR_SUCCESS
        ):
            continue
        client.disconnect()


def measure(source: Source, queue: Queue) -> None:
    """Read the meters once and queue the readings.

    A source that fails is logged, and asked again at the next interval.
    """
    moment = datetime.now(UTC).isoformat(timespec="microseconds")
    try:
        readings = source()
    except Exception:
        logger.exception("the source failed")
        return
    body = {
        "timestamp": moment,
        "leituras": [{"dispositivo_codigo": r.device, "valor": r.value, "unidade": r.unit} for r in readings],
    }
    if readings and not queue.put(body):
        logger.error("the queue is full: readings of %s are NOT kept", moment)


def arguments() -> argparse.Namespace:
    """Read the command line.

    The password comes only from a file or the environment, because others can read command lines.
    """
    parser = argparse.ArgumentParser(
        description="Reads meters and publishes to TDS New; loses nothing that it has read."
    )
    add = parser.add_argument
    add("--id", default=os.environ.get("GATEWAY_ID"), help="MAC or device_id as registered (GATEWAY_ID)")
    add("--host", default=os.environ.get("MQTT_HOST", "localhost"), help="the broker (MQTT_HOST)")
    add(
        "--port", type=int, default=int(os.environ.get("MQTT_PORT", "1883")), help="8883 with TLS (MQTT_PORT)"
    )
    add(
        "--prefix", default=os.environ.get("MQTT_TOPIC_PREFIX", "tds_new/devices"), help="(MQTT_TOPIC_PREFIX)"
    )
    add(
        "--username",
        default=os.environ.get("MQTT_USERNAME"),
        help="(MQTT_USERNAME; the password is in MQTT_PASSWORD)",
    )
    add("--password-file", type=Path, help="instead of MQTT_PASSWORD")
    add("--tls", action="store_true", help="encrypt, and check the broker's certificate")
    add("--ca", help="its authority (PEM); without, the system's")
    add("--cert", help="this gateway's certificate (PEM)")
    add("--key", help="and its key")
    add(
        "--source", default="", metavar="MODULE:FUNCTION", help="reads the meters; without, the demonstration"
    )
    add("--interval", type=float, default=60.0, help="seconds between two readings (60)")
    add("--queue", type=Path, default=Path("gateway.db"), help="the file of the queue (gateway.db)")
    add(
        "--limit",
        type=int,
        default=1_000_000,
        help="messages that the queue may hold (1,000,000; some 300 MB)",
    )
    add("--window", type=int, default=100, help="messages under way at most (100)")
    add(
        "--resend-after",
        type=float,
        default=30.0,
        help="seconds without an answer, then it is sent again (30)",
    )
    add("--heartbeat", type=float, default=60.0, help="seconds between two heartbeats (60)")
    add("--keepalive", type=int, default=30, help="seconds (30)")
    options = parser.parse_args()
    if not options.id:
        parser.error("--id or GATEWAY_ID is needed")
    secret = (
        options.password_file.read_text(encoding="utf-8").strip()
        if options.password_file
        else os.environ.get("MQTT_PASSWORD")
    )
    options.password = secret
    return options


def load(name: str) -> Source:
    """Return the function ``MODULE:FUNCTION``, or the demonstration without a name."""
    if not name:
        return demo_source
    module, _, function = name.partition(":")
    source: Source = getattr(importlib.import_module(module), function)
    return source


def main() -> None:
    """Read until SIGTERM or Ctrl-C; then say offline and end with status 0."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    options, stop = arguments(), threading.Event()
    source, queue = load(options.source), Queue(options.queue, options.limit)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    link = threading.Thread(target=Link(options, stop).run, name="network")
    link.start()
    due = time.monotonic()
    while link.is_alive() and not stop.is_set():
        if time.monotonic() >= due:
            measure(source, queue)
            due = max(due + options.interval, time.monotonic())  # a slow source delays, it does not pile up
        stop.wait(min(1.0, max(0.0, due - time.monotonic())))
    if not stop.is_set():
        raise SystemExit("the network thread has failed, for example on a full disk: to be started again")
    link.join()
    logger.info("stopped; %d messages wait in %s", len(queue), options.queue)


if __name__ == "__main__":
    main()
