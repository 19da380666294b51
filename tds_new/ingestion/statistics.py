"""The counts of a consumer, for its log and its status row."""

import logging
import time
from collections import Counter
from typing import Any

from tds_new.ingestion.telemetry_processor import BatchResult

logger = logging.getLogger(__name__)

REPORT_INTERVAL = 10.0  # seconds between two lines in the log
WITHHELD_INTERVAL = 60.0  # seconds between two warnings about answers that were not published


class Statistics:
    """Totals since the start, and the rates of the last interval."""

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.last_batch_at: float | None = None
        self._lag = 0.0
        self._reported_at = time.monotonic()
        self._reported: Counter[str] = Counter()
        self._broker_dropped: int | None = None
        self._withheld_logged_at = -WITHHELD_INTERVAL

    def record(self, result: BatchResult, oldest: float, committed: float) -> None:
        """Count a committed batch.

        ``oldest`` is when its first message arrived, ``committed`` when it was committed (POSIX times).
        """
        self.totals.update(
            batches=1,
            messages=result.messages,
            readings=result.stored,
            duplicates=result.duplicates,
            conflicts=result.conflicts,
            rejected=sum(result.rejected.values()),
            **{f"{kind}_messages": count for kind, count in result.kinds.items()},
        )
        self.rejected.update(result.rejected)
        self.last_batch_at = committed
        self._lag = max(self._lag, committed - oldest)

    def record_broker_dropped(self, total: int) -> None:
        """Count the messages that the broker has dropped.

        ``total`` is what it has dropped since its own start. Nothing else would show this loss.
        """
        if self._broker_dropped is not None and total > self._broker_dropped:
            dropped = total - self._broker_dropped
            self.totals["broker_dropped"] += dropped
            logger.warning("the broker dropped %d messages: see max_queued_messages in its settings", dropped)
        self._broker_dropped = total

    def record_withheld(self, total: int, stored: int) -> None:
        """Count the answers that were not published.

        ``total`` is their number since the start, ``stored`` what waits in the broker.
        """
        now = time.monotonic()
        if total > self.totals["answers_withheld"] and now - self._withheld_logged_at >= WITHHELD_INTERVAL:
            self._withheld_logged_at = now
            logger.warning(
                "%d messages wait in the broker, perhaps answers that gateways do not take; "
                "%d answers were withheld so far",
                stored,
                total,
            )
        self.totals["answers_withheld"] = total

    def due(self) -> bool:
        """Whether the next line is due."""
        return time.monotonic() - self._reported_at >= REPORT_INTERVAL

    def line(self, queue: int, waiting: float, broker: str) -> str:
        """Return the line for the log, and start the next interval.

        ``queue`` is the number of waiting messages, ``waiting`` the age in seconds of the oldest of them,
        ``broker`` the state of the connection in words.
        """
        now = time.monotonic()
        seconds = max(now - self._reported_at, 0.001)
        delta = self.totals - self._reported
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.rejected.most_common())
        text = (
            f"{delta['messages'] / seconds:.1f} messages/s, {delta['readings'] / seconds:.1f} readings/s; "
            f"stored {delta['readings']}, duplicates {delta['duplicates']}, conflicts {delta['conflicts']}, "
            f"rejected {delta['rejected']}, batches {delta['batches']}; "
            f"lag {max(self._lag, waiting):.3f} s, queue {queue}, broker {broker}"
            + (f"; rejected so far: {reasons}" if reasons else "")
        )
        self._reported_at, self._reported, self._lag = now, self.totals.copy(), 0.0
        return text

    def counters(self) -> dict[str, Any]:
        """Return the totals for ``tds_new_consumer_status.counters``."""
        return {**self.totals, "rejected_by_reason": dict(self.rejected)}
