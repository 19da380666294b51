"""A whole run: cases in memory and in the database, and the summary."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg
from django.conf import settings
from psycopg import Connection

from lab.fuzz.cases import make_case
from lab.fuzz.comparison import Totals
from lab.fuzz.database import DatabaseChecker
from lab.fuzz.fleet import make_fleet
from lab.fuzz.memory import MemoryChecker
from lab.harness.report import table
from tds_new.ingestion.telemetry_processor import TelemetryProcessor
from tds_new.storage.session import SESSION_OPTIONS

BATCH = 200
DATABASE_EVERY = 10  # every tenth batch goes into the database: 10 % of the cases
DRAWN_SHARE = 100  # one case in a hundred is drawn by hypothesis, where it is installed
MAX_FAILURES = 20
PROGRESS_INTERVAL_S = 10.0

CheckDrawn = Callable[[MemoryChecker, int, int], None]


@dataclass
class FuzzResult:
    """The result of a run.

    ``complete`` is False if the time limit or failures ended it early.
    """

    seed: int
    totals: Totals = field(default_factory=Totals)
    seconds: float = 0.0
    processor_seconds: float = 0.0
    complete: bool = True
    duplicates: int = 0
    conflicts: int = 0
    sent_again: int = 0

    @property
    def cases(self) -> int:
        """Cases that were checked, without the known-good messages among them."""
        return self.totals.cases.total() - self.totals.kinds["good"]

    @property
    def passed(self) -> bool:
        """Whether nothing went wrong."""
        return not self.totals.failures


class Fuzzer:
    """One run."""

    def __init__(
        self,
        seed: int,
        connect: Callable[[], Connection],
        say: Callable[[str], None],
        check_drawn: CheckDrawn | None = None,
    ) -> None:
        """Prepare a run of ``seed``; ``say`` is told how far it is.

        ``connect`` opens sessions in autocommit mode on a migrated database; ``check_drawn`` checks cases of
        another source.
        """
        self._seed, self._connect, self._say, self._check_drawn = seed, connect, say, check_drawn

    def run(self, cases: int, limit: float | None = None) -> FuzzResult:
        """Check ``cases`` cases, for ``limit`` seconds at most."""
        result = FuzzResult(self._seed)
        started, cpu = time.monotonic(), time.process_time()
        drawn = cases // DRAWN_SHARE if self._check_drawn else 0
        prefix, totals = settings.MQTT_TOPIC_PREFIX, result.totals
        with self._connect() as session, self._connect() as looking:
            memory = MemoryChecker(make_fleet(0), prefix, totals)
            processor = TelemetryProcessor(session)
            database = DatabaseChecker(processor, looking, prefix, totals, keep=settings.TDS_REJECTED_KEEP)
            result.complete = self._check_made(memory, database, cases - drawn, limit)
            if self._check_drawn and drawn and result.complete:
                self._say(f"{drawn} cases drawn by hypothesis")
                self._check_drawn(memory, self._seed, drawn)
            memory.close()
            database.close()
        result.seconds, result.processor_seconds = time.monotonic() - started, time.process_time() - cpu
        result.duplicates, result.conflicts = database.duplicates, database.conflicts
        result.sent_again = database.sent_again
        return result

    def _check_made(
        self, memory: MemoryChecker, database: DatabaseChecker, cases: int, limit: float | None
    ) -> bool:
        """Check the cases made by seed, batch by batch.

        Return False if the limit or failures end it early.
        """
        totals, started = memory.totals, time.monotonic()
        said = started
        for number, start in enumerate(range(0, cases, BATCH)):
            now = time.monotonic()
            if len(totals.failures) >= MAX_FAILURES or (limit is not None and now - started > limit):
                return False
            if now - said >= PROGRESS_INTERVAL_S:
                said, rate = now, start / (now - started)
                self._say(f"{start} of {cases} cases, {rate:.0f}/s, {len(totals.failures)} failures")
            numbers, known = range(start, min(start + BATCH, cases)), len(totals.failures)
            if number % DATABASE_EVERY == 0:
                database.run(self._seed, numbers, number)
            else:
                memory.run([make_case(self._seed, one, memory.fleet, memory.prefix) for one in numbers])
            for failure in totals.failures[known:]:  # some show only beside others
                failure.path += f", among cases {start} to {numbers[-1]}"
        return True


def connect_to(url: str) -> Connection:
    """Open a session as the consumer has it, on the database of this address."""
    return psycopg.connect(url, options=SESSION_OPTIONS, autocommit=True, application_name="tds_new_fuzz")


def markdown(result: FuzzResult) -> str:
    """Return the summary."""
    totals = result.totals
    per_case = result.processor_seconds / max(result.cases, 1) * 1_000
    cells = [
        ("cases", f"{result.cases}{'' if result.complete else ' (ended early)'}"),
        ("with known-good messages among them", ", ".join(f"{n} {path}" for path, n in totals.cases.items())),
        ("time", f"{result.seconds:.0f} s; {per_case:.2f} ms of processor time a case"),
        ("readings stored, or found stored already", str(totals.readings)),
        ("of them in the database", f"duplicates {result.duplicates}, conflicts {result.conflicts}"),
        ("delivered again, with nothing changed", f"{result.sent_again} messages"),
        ("rejected", _counted(totals.reasons)),
        ("too deep for the oracle", str(totals.unchecked)),
        ("kinds", _counted(totals.kinds)),
        ("failures", str(len(totals.failures))),
    ]
    lines = [f"# Fuzzing, seed {result.seed}", "", *table(("", ""), cells), ""]
    failures = [f"\n[ERROR] seed {result.seed}: {failure}\n" for failure in totals.failures]
    return "\n".join([*lines, *failures])


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())
