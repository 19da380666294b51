"""Work on the database that is repeated until it succeeds."""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

import psycopg

from tds_new.backoff import Backoff
from tds_new.ingestion.leadership import LeaderSession
from tds_new.logs import printable

logger = logging.getLogger(__name__)

T = TypeVar("T")

RETRY = Backoff(first=0.2, longest=15.0, jitter=1.0)
# These pass by themselves and leave the session usable: serialization failure, deadlock, lock not available,
# statement cancelled.
KEEPS_SESSION = {"40001", "40P01", "55P03", "57014"}


class StoppedError(Exception):
    """The consumer was told to stop while it waited for the database."""


class DatabaseRetry:
    """Repeats an operation while the database fails.

    Meanwhile its caller acknowledges nothing.
    """

    def __init__(
        self,
        session: LeaderSession,
        stop: threading.Event,
        recover: Callable[[], None],
        on_failure: Callable[[str | None], None],
    ) -> None:
        """Repeat operations on ``session`` until ``stop`` is set.

        ``recover`` is called before each retry and opens the session again if it is closed. ``on_failure`` is
        told the SQLSTATE of each failure, None if the database did not answer.
        """
        self._session, self._stop = session, stop
        self._recover, self._on_failure = recover, on_failure

    def run(self, operation: Callable[[], T]) -> T:
        """Do ``operation`` until it succeeds, and return its result.

        Raises StoppedError if the consumer is told to stop before that, LockHeldError if another consumer has
        become active.
        """
        attempt = 0
        while True:
            try:
                if attempt:
                    self._recover()
                return operation()
            except (psycopg.Error, OSError, MemoryError) as error:
                attempt += 1
                self._wait_after(error, attempt)

    def wait(self, seconds: float) -> None:
        """Wait. Raises StoppedError if the consumer is told to stop meanwhile."""
        if self._stop.wait(seconds):
            raise StoppedError

    def _wait_after(self, error: BaseException, attempt: int) -> None:
        sqlstate = getattr(error, "sqlstate", None)
        delay = RETRY.delay_before(attempt)
        logger.warning(
            "the database failed (%s): %s; try %d in %.1f s",
            sqlstate or "no answer",
            printable(str(error)),
            attempt + 1,
            delay,
        )
        if sqlstate not in KEEPS_SESSION:
            self._session.close()
        self._on_failure(sqlstate)
        self.wait(delay)
