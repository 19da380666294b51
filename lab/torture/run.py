"""One run: messages, faults in their places, and the check of the invariants."""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import psycopg
from django.conf import settings

from lab.harness.errors import LabError
from lab.torture import faults_broker, faults_consumer, faults_database
from lab.torture.environment import TortureEnvironment
from lab.torture.fault_context import FaultContext, FaultNotInjectedError
from lab.torture.invariants import InvariantChecker, RejectedRow, StoredRow, Violations
from lab.torture.messages import message_of, new_plan
from lab.torture.mutants import MUTANTS
from lab.torture.schedule import KINDS, Fault, make_schedule
from lab.torture.setup import Setup

T = TypeVar("T")

FAULTS = {**faults_consumer.FAULTS, **faults_database.FAULTS, **faults_broker.FAULTS}
MEMORY_BOUND_MIB = 250.0
PROBES = 5  # messages that are published after the end of a fault
MUTANT_RECOVERY_TIMEOUT_S = 6.0  # the shipped consumer needs less for each of their faults
READ_TIMEOUT_S = 30.0
DROPPED = "Outgoing messages are being dropped"


@dataclass(frozen=True)
class RunOptions:
    """The options of a run.

    ``group`` is the share group of several ``consumers``, ``check`` the share of PUBACKs that are looked up
    in the database, ``rate`` in messages/s. A consumer that does not recover is given up after
    ``recovery_timeout`` seconds.
    """

    seed: int
    messages: int
    schedule: list[Fault]
    consumers: int = 1
    group: str = ""
    mutant: str = ""
    check: float = 1.0
    rate: float = 1_000.0
    recovery_timeout: float = 90.0


@dataclass
class FaultReport:
    """One fault: how long it lasted and the recovery from it, in seconds.

    The recovery ends when the consumer has acknowledged everything published before the next fault; it is
    None if that never came. ``missed`` says why a fault could not be brought about.
    """

    fault: Fault
    lasted: float
    recovery: float | None
    missed: str = ""

    def __str__(self) -> str:
        recovered = f"recovered in {self.recovery:.1f} s" if self.recovery is not None else "NOT recovered"
        missed = f" (missed: {self.missed})" if self.missed else ""
        return f"at message {self.fault.at}: {self.fault}: {recovered}{missed}"


@dataclass
class RunResult:
    """The result of a run.

    ``seconds`` is its length, ``peak_memory`` the consumers' in MiB.
    """

    options: RunOptions
    database: str
    violations: Violations
    faults: list[FaultReport] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    peak_memory: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every invariant holds."""
        return not self.violations


class Run:
    """A run on an environment; call :meth:`execute` once, on the main thread."""

    def __init__(
        self, environment: TortureEnvironment, options: RunOptions, say: Callable[[str], None]
    ) -> None:
        environment.runs += 1
        self._environment, self._options, self._say = environment, options, say
        plan = new_plan(
            options.seed, options.messages, fleet=environment.runs, prefix=settings.MQTT_TOPIC_PREFIX
        )
        self._setup = Setup(
            environment,
            plan,
            check=options.check,
            rate=options.rate,
            share_group=options.group,
            mutant=options.mutant,
        )
        self._deliveries, self._consumers = self._setup.deliveries, self._setup.consumers
        self._violations = Violations()
        self._next_place = 0
        self._reports: list[FaultReport] = []

    def execute(self) -> RunResult:
        """Run everything, then check the invariants.

        Raises LabError if nothing goes on any more.
        """
        started = time.monotonic()
        try:
            self._start_consumers()
            self._inject_all()
            if not self._mutant_is_caught():
                self._drain()
            if not self._consumers.stop() and not self._options.mutant:
                self._violations.add("I7", "a consumer did not stop in order")
            return self._check(time.monotonic() - started)
        finally:
            self._setup.close()

    # --- on the way -----------------------------------------------------------------------------------------

    def _start_consumers(self) -> None:
        for number in range(self._options.consumers):
            suffix = f"+{number}" if self._options.group else ""
            self._consumers.start(f"torture-{self._environment.runs}{suffix}")

    def _inject_all(self) -> None:
        schedule = self._options.schedule
        places = [*(fault.at for fault in schedule[1:]), self._options.messages][: len(schedule)]
        for fault, place in zip(schedule, places, strict=True):
            self._next_place = place
            self._publish_below(fault.at)
            self._inject(fault)
            if self._mutant_is_caught():
                return

    def _mutant_is_caught(self) -> bool:
        return bool(self._options.mutant and (self._violations or self._setup.recorder.violations))

    def _publish_below(self, place: int) -> None:
        """Publish every message below ``place`` and wait for the broker.

        Raises LabError if that gets stuck.
        """
        self._setup.publisher.limit(place)
        deadline = time.monotonic() + self._options.recovery_timeout + place / self._options.rate
        while self._deliveries.counts().acknowledged < place and not self._mutant_is_caught():
            if time.monotonic() > deadline or not self._setup.publisher.alive:
                raise LabError(f"the publisher got stuck at {self._deliveries.counts()} of {place}")
            time.sleep(0.01)

    def _allow_messages(self, place: int | None) -> None:
        """Let messages flow during a fault.

        The last few wait for its end, to see the whole way work again.
        """
        end = self._next_place - PROBES
        self._setup.publisher.limit(end if place is None else min(place, end))

    def _inject(self, fault: Fault) -> None:
        setup, options = self._setup, self._options
        context = FaultContext(
            environment=self._environment,
            recorder=setup.recorder,
            database=setup.database,
            consumers=setup.consumers,
            observer=setup.observer,
            deliveries=setup.deliveries,
            allow_messages=self._allow_messages,
            report_violation=self._violations.add,
            chance=random.Random(f"fault {options.seed} {fault.number}"),
            recovery_timeout=options.recovery_timeout,
        )
        started, missed = time.monotonic(), ""
        try:
            FAULTS[fault.kind](context, fault.parameters)
        except FaultNotInjectedError as error:
            missed = str(error)
        ended = time.monotonic()
        recovery = self._recover(ended, self._next_place)
        if not self._mutant_is_caught():
            self._report(FaultReport(fault, ended - started, recovery, missed))

    def _report(self, report: FaultReport) -> None:
        """Keep the report of a fault, and compare its recovery to the target (I7)."""
        fault, options, target = report.fault, self._options, KINDS[report.fault.kind].target
        if report.recovery is None or report.recovery > target:
            timeout = f"more than {options.recovery_timeout:.0f} s"
            took = timeout if report.recovery is None else f"{report.recovery:.1f} s"
            self._violations.add(
                "I7",
                f"fault {fault.number} ({fault}): {took} until everything was acknowledged; "
                f"target {target:.0f} s",
            )
        self._reports.append(report)
        self._say(f"fault {fault.number}/{len(options.schedule)} {report}")

    def _recover(self, ended: float, place: int) -> float | None:
        """Return the seconds of the recovery from ``ended`` on; None for never.

        It has ended when every message below ``place`` is acknowledged.

        Some of them are published after the fault.
        """
        self._setup.publisher.limit(place)
        deadline = ended + self._options.recovery_timeout
        while self._deliveries.counts().acknowledged < place or self._deliveries.outstanding():
            if time.monotonic() > deadline or self._mutant_is_caught():
                return None
            self._consumers.restart_ended()
            self._consumers.measure_memory()
            time.sleep(0.02)
        self._consumers.restart_ended()
        return time.monotonic() - ended

    def _drain(self) -> None:
        """Publish what is left, and wait until it is acknowledged (I1)."""
        recovery = self._recover(time.monotonic(), self._options.messages)
        if recovery is None and not self._mutant_is_caught():
            left = self._deliveries.outstanding()
            self._violations.add(
                "I1", f"{len(left)} messages were never acknowledged by the consumer: {sorted(left)[:10]}"
            )

    # --- the check ------------------------------------------------------------------------------------------

    def _check(self, seconds: float) -> RunResult:
        setup, options, violations = self._setup, self._options, self._violations
        for invariant, text in setup.recorder.violations:
            violations.add(invariant, text)
        if self._consumers.peak_memory > MEMORY_BOUND_MIB:
            violations.add(
                "I6", f"{self._consumers.peak_memory:.0f} MiB resident; bound {MEMORY_BOUND_MIB:.0f}"
            )
        if DROPPED in self._environment.whole_broker_log():
            violations.add("I9", DROPPED)
        deliveries = self._deliveries
        # A mutant that was caught on the wire was not given the time to store the rest.
        caught_on_the_wire = options.mutant and setup.recorder.violations
        checker = InvariantChecker(
            deliveries.plan,
            deliveries.first_order,
            deliveries.attempts,
            set() if caught_on_the_wire else set(deliveries.acknowledged),
            strict_order=not options.group,
        )
        stored, rejected = _with_retries(setup.observer.stored), _with_retries(setup.observer.rejected)
        violations.extend(checker.check(stored, rejected))
        return RunResult(
            options,
            self._environment.kind,
            violations,
            self._reports,
            counts=self._counts(stored, rejected),
            kinds=Counter(message_of(deliveries.plan, number).kind for number in deliveries.first_order),
            seconds=seconds,
            peak_memory=self._consumers.peak_memory,
        )

    def _counts(self, stored: list[StoredRow], rejected: list[RejectedRow]) -> dict[str, int]:
        deliveries, recorder = self._deliveries, self._setup.recorder
        return {
            "published": len(deliveries.first_order),
            "acknowledged by the broker": len(deliveries.acknowledged),
            "published again": deliveries.published_again(),
            "readings stored": len(stored),
            "rows rejected": sum(row.times for row in rejected),
            "PUBACKs seen": recorder.pubacks,
            "PUBACKs checked against the database": recorder.checked,
            "PUBACKs not checked (no answer)": recorder.unchecked,
        }


def _with_retries(read: Callable[[], list[T]]) -> list[T]:
    """Read from the database, which may still be on its way back."""
    deadline = time.monotonic() + READ_TIMEOUT_S
    while True:
        try:
            return read()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def try_mutant(
    environment: TortureEnvironment, name: str, seed: int, say: Callable[[str], None]
) -> RunResult:
    """Make the small run that must show what is wrong with the mutant of this name."""
    mutant = MUTANTS[name]
    schedule = make_schedule(seed, mutant.messages, len(mutant.kinds), kinds=mutant.kinds)
    options = RunOptions(
        seed, mutant.messages, schedule, mutant=name, recovery_timeout=MUTANT_RECOVERY_TIMEOUT_S
    )
    return Run(environment, options, say).execute()
