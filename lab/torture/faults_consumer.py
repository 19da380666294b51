"""Faults of the consumer's process.

Each takes the run in progress and the parameters of its kind in ``schedule.KINDS``. It raises
FaultNotInjectedError where it could not be brought about.
"""

import signal
import time
from typing import Any

from lab.torture.fault_context import FaultContext, FaultFunction, FaultNotInjectedError
from lab.torture.process_group import ConsumerUnderTest

FORMER_LEADER_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
ONCE = (
    "connected",
    "subscribed",
    "finishing",
    "rejected",
)  # points that are reached too seldom to wait for more


def kill(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Have the consumer kill itself with SIGKILL at a named point."""
    consumer, point, times = context.consumer(), str(parameters["point"]), int(parameters["times"])
    if point in ONCE:
        times = 1
    consumer.order_kill(point, times)
    time.sleep(0.05)
    context.allow_messages(None)
    if point in ("connected", "subscribed"):
        context.recorder.cut()
    elif point == "finishing":
        time.sleep(0.2)
        consumer.send_signal(signal.SIGTERM)
    hit = consumer.ends_within(min(10.0, context.recovery_timeout))
    if not hit:
        consumer.kill()
    context.consumers.restart_ended()
    if not hit:
        raise FaultNotInjectedError(f"{point} was not reached {times} times; killed somewhere else instead")


def sigterm(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Stop the consumer in order under load: it must end by itself, with status 0."""
    consumer = context.consumer()
    context.let_messages_flow()
    _stop(context, consumer)
    context.consumers.restart_ended()


def sigterm_alone(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Stop the consumer in order while the database is away.

    Messages that are not stored must stay with the broker.
    """
    consumer = context.consumer()
    context.environment.postgres.stop()
    context.let_messages_flow()
    _stop(context, consumer)
    context.environment.start_database()
    context.consumers.restart_ended()


def _stop(context: FaultContext, consumer: ConsumerUnderTest) -> None:
    consumer.send_signal(signal.SIGTERM)
    if not consumer.ends_within(STOP_TIMEOUT_S):
        context.report_violation("I7", "the consumer did not stop within 10 s of SIGTERM")
        consumer.kill()
    elif consumer.process.returncode != 0:
        context.report_violation(
            "I7", f"the consumer ended with status {consumer.process.returncode} after SIGTERM"
        )


def sigstop(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Freeze the process, by chance longer than the broker waits for its keepalive."""
    consumer = context.consumer()
    context.let_messages_flow()
    consumer.send_signal(signal.SIGSTOP)
    time.sleep(float(parameters["seconds"]))
    consumer.send_signal(signal.SIGCONT)


def usurped(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Have a frozen leader lose its lock to a standby and wake up.

    It must not write, and step back.
    """
    old = context.consumer()
    standby = _standby(context, old.client_id)
    context.let_messages_flow()
    old.send_signal(signal.SIGSTOP)
    subscriptions = context.recorder.subscriptions(old.client_id)
    context.observer.end_sessions()
    took_over = _wait_for_takeover(context, old.client_id, subscriptions)
    old.send_signal(signal.SIGCONT)
    context.consumers.members[old.client_id] = standby
    time.sleep(1.0)
    old.send_signal(signal.SIGTERM)
    if not old.ends_within(FORMER_LEADER_TIMEOUT_S):
        old.kill()
        context.report_violation("I7", "the former leader did not stop")
    if not took_over:
        raise FaultNotInjectedError("the standby did not take over")


def takeover(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Kill the leader; a standby goes on with the same session."""
    old = context.consumer()
    standby = _standby(context, old.client_id)
    context.let_messages_flow()
    old.kill()
    context.consumers.members[old.client_id] = standby


def second_consumer(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Start a second consumer with the same client id.

    It must refuse to work, and say so by its status.
    """
    context.let_messages_flow()
    client_id = context.consumer().client_id
    second = context.consumers.spawn(client_id, standby=False)
    if not second.ends_within(20.0):
        context.report_violation("I7", "a second consumer with the same client id keeps running")
        second.kill()
    elif second.process.returncode != 1:
        context.report_violation(
            "I7",
            f"a second consumer with the same client id ended with status {second.process.returncode}, not 1",
        )


def member_joins(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Start one more consumer in the share group and kill another.

    That one comes back, or the messages queued for it would wait for ever.
    """
    context.let_messages_flow()
    killed = context.consumer()
    context.consumers.start(f"{killed.client_id.rsplit('+', 1)[0]}+{len(context.consumers.members)}")
    killed.kill()
    context.consumers.restart_ended()


def _standby(context: FaultContext, client_id: str) -> ConsumerUnderTest:
    standby = context.consumers.spawn(client_id)
    if not standby.has_logged("standing by", 20.0):
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
