"""Faults of the consumer's process."""

import signal
import time
from typing import Any

from lab.torture.environment import DATABASE
from lab.torture.fault_context import FaultContext, FaultFunction, FaultNotInjectedError
from lab.torture.process_group import ConsumerUnderTest

OLD_DONE_S = 20.0


def kill(context: FaultContext, parameters: dict[str, Any]) -> None:
    """SIGKILL by its own hand at a named point."""
    member, point, times = context.member(), str(parameters["point"]), int(parameters["times"])
    if point in ("connected", "subscribed", "finishing", "set_aside"):
        times = 1
    member.arm(point, times)
    time.sleep(0.05)
    context.allow_messages(None)
    if point in ("connected", "subscribed"):
        context.recorder.cut()
    elif point == "finishing":
        time.sleep(0.2)
        member.signal(signal.SIGTERM)
    hit = member.wait_dead(min(10.0, context.recovery_timeout))
    if not hit:
        member.kill()
    context.consumers.restart_ended()
    if not hit:
        raise FaultNotInjectedError(f"{point} was not reached {times} times; killed somewhere else instead")


def sigterm(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Stop in order under load: it must end by itself, with status 0."""
    member = context.member()
    context.let_messages_flow()
    _stop(context, member)
    context.consumers.restart_ended()


def sigterm_alone(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Stop in order while the database is away: what is in hand must stay with the broker."""
    member = context.member()
    context.environment.postgres.stop()
    context.let_messages_flow()
    _stop(context, member)
    context.environment.postgres.start(DATABASE)
    context.consumers.restart_ended()


def _stop(context: FaultContext, member: ConsumerUnderTest) -> None:
    member.signal(signal.SIGTERM)
    if not member.wait_dead(10.0):
        context.report_violation("I7", "the consumer did not stop within 10 s of SIGTERM")
        member.kill()
    elif member.process.returncode != 0:
        context.report_violation(
            "I7", f"the consumer ended with status {member.process.returncode} after SIGTERM"
        )


def sigstop(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Freeze the process, longer than the broker's recovery_timeout by chance."""
    member = context.member()
    context.let_messages_flow()
    member.signal(signal.SIGSTOP)
    time.sleep(float(parameters["seconds"]))
    member.signal(signal.SIGCONT)


def usurped(context: FaultContext, parameters: dict[str, Any]) -> None:
    """The frozen leader loses its lock to a standby and wakes up: it must not write, and step back."""
    old = context.member()
    standby = _standby(context, old.client_id)
    context.let_messages_flow()
    old.signal(signal.SIGSTOP)
    subscriptions = context.recorder.subscriptions(old.client_id)
    context.observer.end_sessions()
    took_over = _wait_for_takeover(context, old.client_id, subscriptions)
    old.signal(signal.SIGCONT)
    context.consumers.members[old.client_id] = standby
    time.sleep(1.0)
    old.signal(signal.SIGTERM)
    if not old.wait_dead(OLD_DONE_S):
        old.kill()
        context.report_violation("I7", "the former leader did not stop")
    if not took_over:
        raise FaultNotInjectedError("the standby did not take over")


def takeover(context: FaultContext, parameters: dict[str, Any]) -> None:
    """The leader dies, the standby goes on with the same session."""
    old = context.member()
    standby = _standby(context, old.client_id)
    context.let_messages_flow()
    old.kill()
    context.consumers.members[old.client_id] = standby


def second_consumer(context: FaultContext, parameters: dict[str, Any]) -> None:
    """A second one with the same client id must refuse to work, and say so by its status."""
    context.let_messages_flow()
    client_id = context.member().client_id
    second = context.consumers.spawn(client_id, standby=False)
    if not second.wait_dead(20.0):
        context.report_violation("I7", "a second consumer with the same client id keeps running")
        second.kill()
    elif second.process.returncode != 1:
        context.report_violation(
            "I7",
            f"a second consumer with the same client id ended with status {second.process.returncode}, not 1",
        )


def member_joins(context: FaultContext, parameters: dict[str, Any]) -> None:
    """One more in the share group, another one killed; it comes back, or what waits for it would wait for ever."""
    context.let_messages_flow()
    victim = context.member()
    context.consumers.start(f"{victim.client_id.rsplit('+', 1)[0]}+{len(context.consumers.members)}")
    victim.kill()
    context.consumers.restart_ended()


def _standby(context: FaultContext, client_id: str) -> ConsumerUnderTest:
    standby = context.consumers.spawn(client_id)
    if not standby.wait_for_log("standing by", 20.0):
        standby.kill()
        raise FaultNotInjectedError("the standby did not get ready")
    return standby


def _wait_for_takeover(context: FaultContext, client_id: str, subscriptions: int) -> bool:
    return context.recorder.wait_for_subscription(client_id, subscriptions, 15.0)


FAULTS: dict[str, FaultFunction] = {
    "kill": kill,
    "sigterm": sigterm,
    "sigterm_alone": sigterm_alone,
    "sigstop": sigstop,
    "usurped": usurped,
    "takeover": takeover,
    "second_consumer": second_consumer,
    "member_joins": member_joins,
}
