"""One run: messages, faults in their places, and the verdict."""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import psycopg

from lab.torture import faults_broker, faults_consumer, faults_database
from lab.torture.delivery_log import DeliveryLog
from lab.torture.environment import TortureEnvironment
from lab.torture.fault_context import FaultContext, FaultNotInjectedError
from lab.torture.invariants import InvariantChecker, Violations
from lab.torture.messages import message_of, new_plan
from lab.torture.mutants import MUTANTS
from lab.torture.observer import Observer
from lab.torture.packet_recorder import PacketRecorder
from lab.torture.process_group import ProcessGroup
from lab.torture.proxy import DatabaseProxy
from lab.torture.publisher import Job
from lab.torture.publisher_process import PublisherProcess
from lab.torture.schedule import KINDS, Fault, make_schedule

T = TypeVar("T")
FAULTS = {**faults_consumer.FAULTS, **faults_database.FAULTS, **faults_broker.FAULTS}
MEMORY_BOUND_MIB = 250.0
PROBES = 5
MUTANT_RECOVERY_TIMEOUT_S = 6.0  # the shipped consumer needs less for each of their faults
DROPPED = "Outgoing messages are being dropped"


@dataclass(frozen=True)
class RunOptions:
    """What to run. ``recovery_timeout``: seconds after which a consumer that does not recover is given up."""

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
        plan = new_plan(options.seed, options.messages, fleet=environment.runs)
        self._violations = Violations()
        self._deliveries = DeliveryLog(plan)
        self._observer = Observer(environment.url, plan)
        self._observer.register_fleet()
        self._database = DatabaseProxy(environment.postgres.port, self._observer.end_sessions)
        self._recorder = PacketRecorder(
            environment.broker.port, self._deliveries, self._observer.search, options.check
        )
        self._consumers = ProcessGroup(
            environment, self._recorder, self._database.port, options.group, options.mutant
        )
        self._publisher = PublisherProcess(
            Job(plan, "127.0.0.1", environment.broker.port, "admin", environment.secret, options.rate),
            self._deliveries,
        )
        self._next_place = 0
        self._reports: list[FaultReport] = []

    def execute(self) -> RunResult:
        """Run everything, then checker."""
        started = time.monotonic()
        try:
            for number in range(self._options.consumers):
                self._consumers.start(
                    f"torture-{self._environment.runs}" + (f"+{number}" if self._options.group else "")
                )
            schedule = self._options.schedule
            places = [*(fault.at for fault in schedule[1:]), self._options.messages][: len(schedule)]
            for fault, place in zip(schedule, places, strict=True):
                self._next_place = place
                self._publish_below(fault.at)
                self._inject(fault)
                if self._mutant_is_caught():
                    break
            else:
                self._drain()
            if not self._consumers.stop() and not self._options.mutant:
                self._violations.add("I7", "a consumer did not stop in order")
            return self._check(time.monotonic() - started)
        finally:
            self._close()

    def _close(self) -> None:
        self._publisher.close()
        self._consumers.stop()
        self._recorder.close()
        self._database.close()
        self._observer.close()
        for client_id in self._consumers.members:
            if self._environment.broker.pid:
                self._environment.forget_session(client_id)

    # --- on the way -----------------------------------------------------------------------------------------------------------

    def _mutant_is_caught(self) -> bool:
        """Whether a mutant is caught already."""
        return bool(self._options.mutant and (self._violations or self._recorder.violations))

    def _publish_below(self, place: int) -> None:
        self._publisher.limit(place)
        self._wait_for_broker(place)

    def _wait_for_broker(self, place: int) -> None:
        deadline = time.monotonic() + self._options.recovery_timeout + place / self._options.rate
        while self._deliveries.counts()[1] < place:
            if time.monotonic() > deadline or not self._publisher.alive:
                raise RuntimeError(f"the publisher got stuck at {self._deliveries.counts()} of {place}")
            if self._mutant_is_caught():
                return
            time.sleep(0.01)

    def _allow_messages(self, place: int | None) -> None:
        """Let messages let_messages_flow during a fault; the last few wait for its end, to see the whole way work again."""
        end = self._next_place - PROBES
        self._publisher.limit(end if place is None else min(place, end))

    def _inject(self, fault: Fault) -> None:
        options = self._options
        chance = random.Random(f"fault {options.seed} {fault.number}")
        context = FaultContext(
            self._environment,
            self._recorder,
            self._database,
            self._consumers,
            self._observer,
            self._deliveries,
            self._allow_messages,
            self._violations.add,
            chance,
            options.recovery_timeout,
        )
        started, missed = time.monotonic(), ""
        try:
            FAULTS[fault.kind](context, fault.parameters)
        except FaultNotInjectedError as error:
            missed = str(error)
        ended = time.monotonic()
        recovery = self._recover(ended, self._next_place)
        target = KINDS[fault.kind].target
        if self._mutant_is_caught():
            return
        if recovery is None or recovery > target:
            took = f"more than {options.recovery_timeout:.0f} s" if recovery is None else f"{recovery:.1f} s"
            self._violations.add(
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
        self._publisher.limit(place)
        deadline = ended + self._options.recovery_timeout
        while self._deliveries.counts()[1] < place or self._deliveries.outstanding():
            if time.monotonic() > deadline or self._mutant_is_caught():
                return None
            self._consumers.restart_ended()
            self._consumers.measure()
            time.sleep(0.02)
        self._consumers.restart_ended()
        return time.monotonic() - ended

    def _drain(self) -> None:
        if self._recover(time.monotonic(), self._options.messages) is None and not self._mutant_is_caught():
            left = self._deliveries.outstanding()
            self._violations.add(
                "I1", f"{len(left)} messages were never acknowledged by the consumer: {sorted(left)[:10]}"
            )

    # --- the verdict ----------------------------------------------------------------------------------------------------------

    def _check(self, seconds: float) -> RunResult:
        options = self._options
        for invariant, text in self._recorder.violations:
            self._violations.add(invariant, text)
        if self._consumers.peak > MEMORY_BOUND_MIB:
            self._violations.add(
                "I6", f"{self._consumers.peak:.0f} MiB resident; bound {MEMORY_BOUND_MIB:.0f}"
            )
        if DROPPED in self._environment.whole_broker_log():
            self._violations.add("I9", DROPPED)
        deliveries = self._deliveries
        # A mutant that was caught on the wire was not given the time to store the rest.
        acknowledged = set() if options.mutant and self._recorder.violations else set(deliveries.acknowledged)
        checker = InvariantChecker(
            deliveries.plan,
            deliveries.first_order,
            deliveries.attempts,
            acknowledged,
            strict_order=not options.group,
        )
        rows, rejections = (
            _read_with_retries(self._observer.readings),
            _read_with_retries(self._observer.rejections),
        )
        for invariant, texts in checker.checker(rows, rejections).texts.items():
            for text in texts:
                self._violations.add(invariant, text)
        counts = {
            "published": len(deliveries.first_order),
            "acknowledged by the broker": len(deliveries.acknowledged),
            "published again": sum(deliveries.attempts.values()) - len(deliveries.attempts),
            "readings stored": len(rows),
            "rows rejected": sum(row.times for row in rejections),
            "PUBACKs seen": self._recorder.pubacks,
            "PUBACKs checked against the database": self._recorder.checked,
            "PUBACKs not checked (no answer)": self._recorder.unchecked,
        }
        kinds = Counter(message_of(deliveries.plan, number).kind for number in deliveries.first_order)
        return RunResult(
            options,
            self._environment.kind,
            self._violations,
            self._reports,
            counts,
            kinds,
            seconds,
            self._consumers.peak,
        )


def _read_with_retries(question: Callable[[], list[T]]) -> list[T]:
    """Ask the database, which may still be on its way back."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return question()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def try_mutant(
    environment: TortureEnvironment, name: str, seed: int, say: Callable[[str], None]
) -> RunResult:
    """The small run that must show what is wrong with a mutant."""
    wrong = MUTANTS[name]
    schedule = make_schedule(seed, wrong.messages, len(wrong.kinds), kinds=wrong.kinds)
    return Run(
        environment,
        RunOptions(seed, wrong.messages, schedule, mutant=name, recovery_timeout=MUTANT_RECOVERY_TIMEOUT_S),
        say,
    ).execute()
