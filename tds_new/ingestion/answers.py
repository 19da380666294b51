"""Bounds on the answers of gateways that do not take them.

An answer waits in the broker until its gateway has acknowledged it. A gateway that is offline, or online and
does not acknowledge, would so fill the broker's memory. The broker does not say who has taken what, but it
reports how many messages it stores. While these are few, nobody hoards, and everybody is answered. When they
become many, each gateway that may be the cause gets no more than ``CREDIT`` answers.
"""

import random
import time
from collections.abc import Callable

import msgspec

CREDIT = 100  # answers of one gateway that may not have been taken
FEW = 20_000  # stored messages up to which nobody hoards
POOL = 60_000  # answers beyond all credits between two reports while nobody hoards
TOO_MANY = 250_000  # stored messages from which on nothing is given on trust
# While somebody hoards, time is divided into epochs. After each, some of the gateways without credit get a
# little: whoever took all of it, while the stored messages did not grow, has shown that it takes its answers.
EPOCH_REPORTS = 12
TRUST, TRUST_CHANCE = 10, 0.2  # answers, and the share of the gateways: one answer a minute of each
REPORT_TIMEOUT = 60.0  # seconds without a report after which nothing is bounded
SETTLE_TIME = 0.25  # seconds in which all figures of a report arrive


class _Account(msgspec.Struct):
    """The answers of one gateway that may not have been taken.

    ``debt`` is from earlier epochs. ``settled`` were sent in this epoch before the last report but one, and
    ``recent`` since then: too late to show in a report for certain. ``latest`` of these came after the last.
    """

    debt: int = 0
    settled: int = 0
    recent: int = 0
    latest: int = 0


class AnswerCredit:
    """Decides which answers are published.

    The figures of the broker's reports come on another thread than the questions.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Start without a report: nothing is bounded.

        ``clock`` returns seconds, ``chance`` a number from 0 to 1.
        """
        self._clock, self._chance = clock, chance
        self._accounts: dict[int, _Account] = {}
        self._pool = POOL
        self._stored = self._retained = 0
        self._report_at: float | None = None  # when a report began that is not evaluated yet
        self._reported_at: float | None = None
        self._hoarded = self._hoarded_before = self._epoch_began_with = 0
        self._epoch_reports = 0
        self.withheld = 0
        self.hoarding = False

    # --- the broker's reports -------------------------------------------------------------------------------

    def record_stored(self, messages: int, unacknowledged: int) -> None:
        """Take the number of messages that the broker stores.

        ``unacknowledged`` of them wait here, and are no answers.
        """
        self._stored = max(0, messages - unacknowledged)

    def record_retained(self, messages: int) -> None:
        """Take the number of the retained messages among those."""
        self._retained = messages

    def record_report(self) -> None:
        """Take note that the broker reports now.

        It repeats only the figures that have changed.
        """
        self._report_at = self._clock()

    @property
    def stored(self) -> int:
        """The messages that the broker stores, by its last report.

        Those that are retained, or wait here, are excepted.
        """
        return self._hoarded

    # --- the answers ----------------------------------------------------------------------------------------

    def allows(self, gateway_id: int) -> bool:
        """Whether one more answer to a gateway may be published; if so, count it."""
        self.evaluate_if_due()
        if not self._is_reported():
            return True
        account = self._accounts.get(gateway_id)
        if account is None:
            account = self._accounts[gateway_id] = _Account()
        if account.debt + min(account.settled, self._growth()) + account.recent >= CREDIT:
            if self._pool <= 0:
                self.withheld += 1
                return False
            self._pool -= 1
        account.recent += 1
        account.latest += 1
        return True

    def _is_reported(self) -> bool:
        return self._reported_at is not None and self._clock() - self._reported_at < REPORT_TIMEOUT

    def _growth(self) -> int:
        """The stored messages that came in this epoch: no gateway hoards more of it.

        Of two reports the lower one counts, because it has less of what is only on its way.
        """
        return max(0, min(self._hoarded, self._hoarded_before) - self._epoch_began_with)

    def evaluate_if_due(self) -> None:
        """Evaluate the last report, once its figures have come."""
        if self._report_at is None or self._clock() - self._report_at < SETTLE_TIME:
            return
        if not self._is_reported():
            self._hoarded = 0  # whatever was known is too old
            self._forgive()
        self._report_at, self._reported_at = None, self._clock()
        self._hoarded_before, self._hoarded = self._hoarded, max(0, self._stored - self._retained)
        if self._hoarded <= FEW:
            self._forgive()
            return
        if not self.hoarding:
            self._begin_bounds()
            return
        self._epoch_reports += 1
        for account in self._accounts.values():
            account.settled += account.recent - account.latest
            account.recent, account.latest = account.latest, 0
        if self._epoch_reports >= EPOCH_REPORTS:
            self._end_epoch()

    def _forgive(self) -> None:
        """Begin anew: nobody hoards."""
        self._accounts.clear()
        self._pool, self.hoarding = POOL, False
        self._epoch_reports, self._epoch_began_with = 0, self._hoarded

    def _begin_bounds(self) -> None:
        """Somebody hoards: whoever has got answers since the last report may be the cause."""
        self.hoarding, self._pool = True, 0
        for account in self._accounts.values():
            account.debt, account.recent, account.latest = min(CREDIT, account.recent), 0, 0
        self._epoch_reports, self._epoch_began_with = 0, self._hoarded

    def _end_epoch(self) -> None:
        """Settle the accounts: forgive gateways that have taken answers for certain."""
        growth = self._growth()
        for gateway_id, account in list(self._accounts.items()):
            if account.settled > growth:
                account.debt = 0
            else:
                account.debt = min(CREDIT, account.debt + account.settled)
            account.settled = 0
            if account.debt and self._hoarded < TOO_MANY and self._chance() < TRUST_CHANCE:
                account.debt = max(0, account.debt - TRUST)
            if not account.debt and not account.recent:
                del self._accounts[gateway_id]
        self._epoch_reports = 0
        self._epoch_began_with = min(self._hoarded, self._hoarded_before)
