"""A whole run: which case goes which way, progress, and the summary."""

import time
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
from tds_new.ingestion.telemetry_processor import TelemetryProcessor
from tds_new.storage.session import SESSION_OPTIONS

BATCH = 200
DATABASE_EVERY = 10  # every tenth batch goes into the database: 10 % of the cases
DRAWN_SHARE = 100  # one case in a hundred is drawn by hypothesis, where it is installed
MAX_FAILURES = 20
PROGRESS_INTERVAL = 10.0

Drawn = Callable[[MemoryChecker, int, int], None]


@dataclass
class FuzzResult:
    """What a run found; ``complete`` False where the time limit came first."""

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
        """Cases judged; the known-good messages among them are not counted."""
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
        drawn: Drawn | None = None,
    ) -> None:
        """``connect`` opens sessions in autocommit mode on a migrated database; ``drawn`` judges cases of another source."""
        self.seed, self._connect, self._say, self._drawn = seed, connect, say, drawn

    def run(self, cases: int, limit: float | None = None) -> FuzzResult:
        """Judge ``cases`` cases, for ``limit`` seconds at most."""
        result = FuzzResult(self.seed)
        totals = result.totals
        started, cpu = time.monotonic(), time.process_time()
        drawn = cases // DRAWN_SHARE if self._drawn else 0
        prefix = settings.MQTT_TOPIC_PREFIX
        with self._connect() as session, self._connect() as looking:
            memory = MemoryChecker(make_fleet(0), prefix, totals)
            stored = DatabaseChecker(
                TelemetryProcessor(session), looking, prefix, totals, keep=settings.TDS_REJECTED_KEEP
            )
            said = started
            for number, start in enumerate(range(0, cases - drawn, BATCH)):
                now = time.monotonic()
                if len(totals.failures) >= MAX_FAILURES or (limit is not None and now - started > limit):
                    result.complete = False
                    break
                if now - said >= PROGRESS_INTERVAL:
                    said = now
                    self._say(
                        f"{start} of {cases} cases, {start / (now - started):.0f}/s, {len(totals.failures)} failures"
                    )
                numbers, known = range(start, min(start + BATCH, cases - drawn)), len(totals.failures)
                if number % DATABASE_EVERY == 0:
                    stored.run(self.seed, numbers, number)
                else:
                    memory.run([make_case(self.seed, one, memory.fleet, prefix) for one in numbers])
                for failure in totals.failures[known:]:  # some show only beside others
                    failure.path += f", among cases {start} to {numbers[-1]}"
            if self._drawn and drawn and result.complete:
                self._say(f"{drawn} cases drawn by hypothesis")
                self._drawn(memory, self.seed, drawn)
            memory.close()
            stored.close()
        result.seconds, result.processor_seconds = time.monotonic() - started, time.process_time() - cpu
        result.duplicates, result.conflicts, result.sent_again = (
            stored.duplicates,
            stored.conflicts,
            stored.sent_again,
        )
        return result


def connect_to(url: str) -> Connection:
    """A session as the consumer has it, on the database of this address."""
    return psycopg.connect(url, options=SESSION_OPTIONS, autocommit=True, application_name="tds_new_fuzz")


def markdown(result: FuzzResult) -> str:
    """The summary."""
    totals = result.totals
    ways = ", ".join(f"{count} {path}" for path, count in totals.cases.items())
    reasons = ", ".join(f"{reason} {count}" for reason, count in totals.reasons.most_common())
    kinds = ", ".join(f"{kind} {count}" for kind, count in totals.kinds.most_common())
    per_case = result.processor_seconds / max(result.cases, 1) * 1_000
    lines = [
        f"# Fuzzing, seed {result.seed}\n",
        "| | |\n|---|---|",
        f"| cases | {result.cases}{'' if result.complete else ' (ended early)'} |",
        f"| with known-good messages among them | {ways} |",
        f"| time | {result.seconds:.0f} s; {per_case:.2f} ms of processor time a case |",
        f"| readings stored, or found stored already | {totals.readings} |",
        f"| of them in the database | duplicates {result.duplicates}, conflicts {result.conflicts} |",
        f"| delivered again, with nothing changed | {result.sent_again} messages |",
        f"| rejected | {reasons} |",
        f"| too deep for the oracle | {totals.not_judged} |",
        f"| kinds | {kinds} |",
        f"| failures | {len(totals.failures)} |\n",
    ]
    return "\n".join(lines) + "".join(
        f"\n[ERROR] seed {result.seed}: {failure}\n" for failure in totals.failures
    )
