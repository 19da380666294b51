"""One run: messages, faults in their places, and the verdict."""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import psycopg

from lab.torture import faults_broker, faults_consumer, faults_database
from lab.torture.feeder import Feeder
from lab.torture.gang import Gang
from lab.torture.ledger import Ledger
from lab.torture.messages import item, new_plan
from lab.torture.mutants import MUTANTS
from lab.torture.proxy import DatabaseProxy
from lab.torture.publisher import Job
from lab.torture.scene import FaultMissedError, Scene
from lab.torture.schedule import KINDS, Fault, make_schedule
from lab.torture.stage import Stage
from lab.torture.tap import Tap
from lab.torture.verdict import Findings, Judge
from lab.torture.witness import Witness

T = TypeVar("T")
ATTACKS = {**faults_consumer.ATTACKS, **faults_database.ATTACKS, **faults_broker.ATTACKS}
MEMORY_BOUND_MIB = 250.0
PROBES = 5
MUTANTS_PATIENCE_S = 6.0  # the shipped consumer needs less for each of their faults
DROPPED = "Outgoing messages are being dropped"


@dataclass(frozen=True)
class RunOptions:
    """What to run. ``patience``: seconds after which a consumer that does not recover is given up."""

    seed: int
    messages: int
    schedule: list[Fault]
    consumers: int = 1
    group: str = ""
    mutant: str = ""
    check: float = 1.0
    rate: float = 1_000.0
    patience: float = 90.0


@dataclass
class FaultReport:
    """One fault: when, and how long until everything published before its end was acknowledged by the consumer."""

    fault: Fault
    lasted: float
    recovery: float | None
    missed: str = ""


@dataclass
class RunResult:
    """What came of it."""

    options: RunOptions
    database: str
    findings: Findings
    faults: list[FaultReport] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    peak_memory: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every invariant holds."""
        return not self.findings


class Run:
    """A run on a stage; call :meth:`execute` once, on the main thread."""

    def __init__(self, stage: Stage, options: RunOptions, say: Callable[[str], None]) -> None:
        stage.runs += 1
        self._stage, self._options, self._say = stage, options, say
        plan = new_plan(options.seed, options.messages, fleet=stage.runs)
        self._findings = Findings()
        self._ledger = Ledger(plan)
        self._witness = Witness(stage.url, plan)
        self._witness.register_fleet()
        self._database = DatabaseProxy(stage.postgres.port, self._witness.end_sessions)
        self._tap = Tap(stage.broker.port, self._ledger, self._witness.search, options.check)
        self._gang = Gang(stage, self._tap, self._database.port, options.group, options.mutant)
        self._feeder = Feeder(
            Job(plan, "127.0.0.1", stage.broker.port, "admin", stage.secret, options.rate), self._ledger
        )
        self._next_place = 0
        self._reports: list[FaultReport] = []

    def execute(self) -> RunResult:
        """Run everything, then judge."""
        started = time.monotonic()
        try:
            for number in range(self._options.consumers):
                self._gang.start(
                    f"torture-{self._stage.runs}" + (f"+{number}" if self._options.group else "")
                )
            schedule = self._options.schedule
            places = [*(fault.at for fault in schedule[1:]), self._options.messages][: len(schedule)]
            for fault, place in zip(schedule, places, strict=True):
                self._next_place = place
                self._reach(fault.at)
                self._suffer(fault)
                if self._hopeless():
                    break
            else:
                self._drain()
            if not self._gang.stop() and not self._options.mutant:
                self._findings.add("I7", "a consumer did not stop in order")
            return self._judge(time.monotonic() - started)
        finally:
            self._close()

    def _close(self) -> None:
        self._feeder.close()
        self._gang.stop()
        self._tap.close()
        self._database.close()
        self._witness.close()
        for client_id in self._gang.members:
            if self._stage.broker.pid:
                self._stage.forget_session(client_id)

    # --- on the way -----------------------------------------------------------------------------------------------------------

    def _hopeless(self) -> bool:
        """Whether a mutant is convicted already."""
        return bool(self._options.mutant and (self._findings or self._tap.accusations))

    def _reach(self, place: int) -> None:
        self._feeder.limit(place)
        self._wait_for_broker(place)

    def _wait_for_broker(self, place: int) -> None:
        deadline = time.monotonic() + self._options.patience + place / self._options.rate
        while self._ledger.counts()[1] < place:
            if time.monotonic() > deadline or not self._feeder.alive:
                raise RuntimeError(f"the publisher got stuck at {self._ledger.counts()} of {place}")
            if self._hopeless():
                return
            time.sleep(0.01)

    def _open_gate(self, place: int | None) -> None:
        """Let messages flow during a fault; the last few wait for its end, to see the whole way work again."""
        end = self._next_place - PROBES
        self._feeder.limit(end if place is None else min(place, end))

    def _suffer(self, fault: Fault) -> None:
        options = self._options
        chance = random.Random(f"fault {options.seed} {fault.number}")
        scene = Scene(
            self._stage,
            self._tap,
            self._database,
            self._gang,
            self._witness,
            self._ledger,
            self._open_gate,
            self._findings.add,
            chance,
            options.patience,
        )
        started, missed = time.monotonic(), ""
        try:
            ATTACKS[fault.kind](scene, fault.parameters)
        except FaultMissedError as error:
            missed = str(error)
        ended = time.monotonic()
        recovery = self._recover(ended, self._next_place)
        target = KINDS[fault.kind].target
        if self._hopeless():
            return
        if recovery is None or recovery > target:
            took = f"more than {options.patience:.0f} s" if recovery is None else f"{recovery:.1f} s"
            self._findings.add(
                "I7",
                f"fault {fault.number} ({fault}): {took} until everything was acknowledged; target {target:.0f} s",
            )
        self._reports.append(FaultReport(fault, ended - started, recovery, missed))
        self._say(
            f"fault {fault.number}/{len(options.schedule)} at message {fault.at}: {fault}: "
            + (f"recovered in {recovery:.1f} s" if recovery is not None else "NOT recovered")
            + (f" (missed: {missed})" if missed else "")
        )

    def _recover(self, ended: float, place: int) -> float | None:
        """Seconds until every message below ``place`` is acknowledged, some of them published after the fault; None for never."""
        self._feeder.limit(place)
        deadline = ended + self._options.patience
        while self._ledger.counts()[1] < place or self._ledger.outstanding():
            if time.monotonic() > deadline or self._hopeless():
                return None
            self._gang.revive()
            self._gang.measure()
            time.sleep(0.02)
        self._gang.revive()
        return time.monotonic() - ended

    def _drain(self) -> None:
        if self._recover(time.monotonic(), self._options.messages) is None and not self._hopeless():
            left = self._ledger.outstanding()
            self._findings.add(
                "I1", f"{len(left)} messages were never acknowledged by the consumer: {sorted(left)[:10]}"
            )

    # --- the verdict ----------------------------------------------------------------------------------------------------------

    def _judge(self, seconds: float) -> RunResult:
        options = self._options
        for invariant, text in self._tap.accusations:
            self._findings.add(invariant, text)
        if self._gang.peak > MEMORY_BOUND_MIB:
            self._findings.add("I6", f"{self._gang.peak:.0f} MiB resident; bound {MEMORY_BOUND_MIB:.0f}")
        if DROPPED in self._stage.everything_the_broker_said():
            self._findings.add("I9", DROPPED)
        ledger = self._ledger
        # A mutant that was convicted on the wire was not given the time to store the rest.
        acknowledged = set() if options.mutant and self._tap.accusations else set(ledger.acknowledged)
        judge = Judge(
            ledger.plan, ledger.first_order, ledger.attempts, acknowledged, strict_order=not options.group
        )
        rows, asides = _ask(self._witness.readings), _ask(self._witness.asides)
        for invariant, texts in judge.judge(rows, asides).texts.items():
            for text in texts:
                self._findings.add(invariant, text)
        counts = {
            "published": len(ledger.first_order),
            "acknowledged by the broker": len(ledger.acknowledged),
            "published again": sum(ledger.attempts.values()) - len(ledger.attempts),
            "readings stored": len(rows),
            "rows set aside": sum(row.times for row in asides),
            "PUBACKs seen": self._tap.pubacks,
            "PUBACKs checked against the database": self._tap.checked,
            "PUBACKs not checked (no answer)": self._tap.unchecked,
        }
        kinds = Counter(item(ledger.plan, number).kind for number in ledger.first_order)
        return RunResult(
            options, self._stage.kind, self._findings, self._reports, counts, kinds, seconds, self._gang.peak
        )


def _ask(question: Callable[[], list[T]]) -> list[T]:
    """Ask the database, which may still be on its way back."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return question()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def try_mutant(stage: Stage, name: str, seed: int, say: Callable[[str], None]) -> RunResult:
    """The small run that must show what is wrong with a mutant."""
    wrong = MUTANTS[name]
    schedule = make_schedule(seed, wrong.messages, len(wrong.kinds), kinds=wrong.kinds)
    return Run(
        stage, RunOptions(seed, wrong.messages, schedule, mutant=name, patience=MUTANTS_PATIENCE_S), say
    ).execute()
