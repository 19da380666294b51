"""Password hashes, one at a time in each process and at a low priority.

Each takes 100 MiB and all cores. Without a bound, a few dozen parallel logins hold every thread of the web
and a gigabyte of memory.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from typing import TypeVar

from django.contrib.auth.hashers import Argon2PasswordHasher, PBKDF2PasswordHasher

WAITING_AT_MOST = 1  # with the one that works, half of a worker's four threads
LONGEST_WAIT_S = 2.0
NICENESS = 15  # all lanes of three workers' hashes together weigh less than one page

T = TypeVar("T")


class HashingBusyError(Exception):
    """No password can be checked just now: others are being checked."""

    retry_after_s = 3


class Turn:
    """A turn at hashing: one thread has it, few wait for it, and not for long."""

    def __init__(self, waiting: int = WAITING_AT_MOST, longest_wait_s: float = LONGEST_WAIT_S) -> None:
        self._places = threading.BoundedSemaphore(1 + waiting)
        self._turn = threading.Lock()
        self._longest_wait_s = longest_wait_s
        self._own = threading.local()

    def refuse_if_full(self) -> None:
        """Raise HashingBusyError if too many wait now."""
        if not self._places.acquire(blocking=False):
            raise HashingBusyError
        self._places.release()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold the turn; a thread that has it already keeps it.

        Raises HashingBusyError at once if too many wait, and after ``longest_wait_s`` without a turn.
        """
        if getattr(self._own, "has_it", False):
            yield
            return
        if not self._places.acquire(blocking=False):
            raise HashingBusyError
        try:
            if not self._turn.acquire(timeout=self._longest_wait_s):
                raise HashingBusyError
            self._own.has_it = True
            try:
                yield
            finally:
                self._own.has_it = False
                self._turn.release()
        finally:
            self._places.release()


TURN = Turn()


@cache
def _thread() -> ThreadPoolExecutor:
    """Return the thread that hashes.

    It is made on first use: a process that forks would lose it.
    """
    return ThreadPoolExecutor(1, "password-hashing", _lower_priority)


def _lower_priority() -> None:
    """Let everything else go first.

    On Linux this concerns the calling thread, and those that it starts.
    """
    with contextlib.suppress(OSError, AttributeError):
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)


def in_turn(work: Callable[[], T]) -> T:
    """Do ``work`` in turn and at a low priority, and return what it returns.

    Raises HashingBusyError.
    """
    with TURN.taken():
        return _thread().submit(work).result()


class Argon2InTurn(Argon2PasswordHasher):
    """Argon2id, in turn with every other hash of this process."""

    def encode(self, password: str, salt: str) -> str:
        """Return the hash to store. Raises HashingBusyError."""
        return in_turn(partial(super().encode, password, salt))

    def verify(self, password: str, encoded: str) -> bool:
        """Return whether the password is the one that was hashed. Raises HashingBusyError."""
        return in_turn(partial(super().verify, password, encoded))


class PBKDF2InTurn(PBKDF2PasswordHasher):
    """PBKDF2, for hashes of earlier systems, in the same turn."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        """Return the hash to store. Raises HashingBusyError."""
        return in_turn(partial(super().encode, password, salt, iterations))
