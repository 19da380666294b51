"""The scheduler of maintenance: one process at a time runs the tasks that are due."""

import logging
import threading
import time
from collections.abc import Callable, Container
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
from django.conf import settings
from psycopg import Connection

from tds_new.backoff import Backoff
from tds_new.logs import printable
from tds_new.maintenance import logins, policies, record, retention, structure
from tds_new.storage import session

logger = logging.getLogger(__name__)

PASS_S = 10.0  # between two looks for due tasks; late data gets into the sums after this and the refresh
REST = 4  # seconds without a refresh for each second that the last one took
STANDBY_S = 30.0
RETRY = Backoff(first=STANDBY_S, longest=STANDBY_S, jitter=0.5)
WORTH_SAYING_S = 5.0
RETENTION, RETENTION_EVERY = "retention tds_new_leitura_dispositivo", timedelta(hours=1)
LOCK = 0x7464735F75706B65  # of the database; pg_advisory_lock

# A task may take long, but never waits long for a lock, because others would wait behind it. The JIT compiler
# is off: the planner's estimates of refreshes would start it for nothing.
SESSION = ("SET statement_timeout = 0", "SET lock_timeout = '5s'", "SET jit = off")


@dataclass(frozen=True, slots=True)
class Done:
    """A task that was run: how long it took, and its error, empty if it succeeded."""

    name: str
    seconds: float
    error: str = ""


def open_session() -> Connection[Any]:
    """Open a session for maintenance. Raises psycopg.OperationalError."""
    connection = session.connect("tds_new_upkeep")
    for statement in SESSION:
        connection.execute(statement)
    connection.execute(policies.REFRESH_ONE_BY_ONE)
    return connection


def take_lock(connection: Connection[Any]) -> bool:
    """Become the session that does the maintenance; False if another one is.

    The lock is held until the session ends.
    """
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK]).fetchone()
    return bool(row and row[0])


def refresh(connection: Connection[Any]) -> list[Done]:
    """Refresh the sums; safe beside the process that does the maintenance."""
    found = [policy for policy in policies.find(connection) if policy.kind == policies.REFRESH]
    return [
        _run(connection, policy.name, policy.interval, partial(policies.run, connection, policy))
        for policy in found
    ]


def run_due(
    connection: Connection[Any], paused: Container[str] = (), *, everything: bool = False
) -> list[Done]:
    """Run and record due tasks that are not ``paused``; with ``everything``, all.

    A task that fails does not keep the others from running. Raises psycopg.Error if the session is lost or
    its statement is cancelled.
    """
    policies.set_compression(connection, settings.TDS_COMPRESS_AFTER_DAYS)
    done, names = [], []
    for policy in policies.find(connection):
        names.append(policy.name)
        if everything or (policy.due and policy.name not in paused):
            done.append(
                _run(connection, policy.name, policy.interval, partial(policies.run, connection, policy))
            )
        elif policy.scheduled_success is not None:
            record.observed(connection, policy.name, policy.interval, policy.scheduled_success)
    while structure.is_due(connection):
        names.append(structure.NAME)
        if structure.NAME in paused:
            break
        done.append(
            _run(connection, structure.NAME, structure.EVERY, partial(structure.sum_next, connection))
        )
        if not everything or done[-1].error:
            break
    for name, interval, work in _own_tasks(connection):
        names.append(name)
        if everything or not record.ran_lately(connection, name, interval):
            done.append(_run(connection, name, interval, work))
    record.forget_others(connection, names)
    return done


def _own_tasks(connection: Connection[Any]) -> list[tuple[str, timedelta, Callable[[], object]]]:
    """Return the tasks that run at intervals on any database: name, interval, work."""
    tasks: list[tuple[str, timedelta, Callable[[], object]]] = []
    if days := settings.TDS_RAW_RETENTION_DAYS:
        tasks.append((RETENTION, RETENTION_EVERY, partial(retention.apply, connection, days)))
    tasks.append((logins.NAME, logins.EVERY, partial(logins.prune, connection)))
    return tasks


def _run(connection: Connection[Any], name: str, interval: timedelta, work: Callable[[], object]) -> Done:
    started, error = time.monotonic(), ""
    try:
        work()
    except (psycopg.Error, retention.NotYetError) as failure:
        if connection.closed or isinstance(failure, psycopg.errors.QueryCanceled):
            raise
        error = printable(str(failure))
    record.ran(connection, name, interval, error)
    return Done(name, time.monotonic() - started, error)


class Scheduler:
    """Runs due tasks in a thread of its own until it is told to stop.

    It waits for a database that is away.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="maintenance", daemon=True)
        self._connection: Connection[Any] | None = None
        self._resume: dict[str, float] = {}  # when a task may run again, monotonic seconds
        self._errors: dict[str, str] = {}

    def start(self) -> None:
        """Start the thread, without waiting for anything."""
        self._thread.start()

    def wake(self) -> None:
        """Look for due tasks at once, because old figures have changed."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread; a running task is rolled back and done the next time."""
        self._stop.set()
        self._wake.set()
        while self._thread.is_alive():
            if (connection := self._connection) is not None and not connection.closed:
                connection.cancel()
            self._thread.join(0.2)

    def _follow(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                wait = self._pass()
            except psycopg.Error as error:
                self._disconnect()
                wait = RETRY.delay_before(1)
                if not self._stop.is_set():
                    logger.warning(
                        "maintenance: the database failed (%s); trying again in %.0f s",
                        printable(str(error)),
                        wait,
                    )
            if not self._stop.is_set():
                self._wake.wait(wait)
        self._disconnect()

    def _pass(self) -> float:
        """Run what is due; return the seconds to wait until the next pass."""
        if self._connection is None:
            self._connection = open_session()
            if not take_lock(self._connection):
                self._disconnect()
                return STANDBY_S
        paused = {name for name, moment in self._resume.items() if time.monotonic() < moment}
        for done in run_due(self._connection, paused):
            self._resume[done.name] = time.monotonic() + REST * done.seconds
            self._say(done)
        return PASS_S

    def _say(self, done: Done) -> None:
        """Log a task that took long, and each error once."""
        if done.error != self._errors.get(done.name, ""):
            if done.error:
                logger.error("maintenance: %s failed: %s", done.name, done.error)
            else:
                logger.info("maintenance: %s works again", done.name)
        elif done.seconds >= WORTH_SAYING_S:
            logger.info("maintenance: %s took %.1f s", done.name, done.seconds)
        self._errors[done.name] = done.error

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
