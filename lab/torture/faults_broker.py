"""Faults of the broker and of the network to it.

Each takes the run in progress and the parameters of its kind in ``schedule.KINDS``. None of them kills the
broker with messages in it: that loses some, and is measured by itself (``broker_kill``).
"""

import time
from typing import Any

from lab.torture.environment import KEEPALIVE_S
from lab.torture.fault_context import FaultContext, FaultFunction, FaultNotInjectedError

HELD = 60  # messages that the consumer holds while the broker forgets everything


def restart(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Stop the broker with SIGTERM, which saves queues and sessions, and start it."""
    context.let_messages_flow()
    context.environment.stop_broker()
    context.environment.broker.start()


def away(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Stop the broker for some seconds."""
    context.let_messages_flow()
    context.environment.stop_broker()
    time.sleep(float(parameters["seconds"]))
    context.environment.broker.start()


def emptied(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Have the broker lose sessions and queues while the consumer holds messages.

    The consumer has not acknowledged them yet.

    It counts packet ids from 1 again. The consumer must store the messages that it holds, but not acknowledge
    them: the ids belong to new messages now. The publisher pauses, so that nothing is at the broker alone.
    """
    client_id = context.consumer().client_id
    context.database.freeze(new_ones=True)
    try:
        context.allow_messages(context.deliveries.counts().published + HELD)
        time.sleep(0.3)
        context.wait_until(
            lambda: context.deliveries.counts().published == context.deliveries.counts().acknowledged,
            10,
            "the broker's acknowledgement",
        )
        context.wait_until(lambda: not context.deliveries.undelivered(), 10, "the delivery")
        held = context.deliveries.outstanding()
        before = context.recorder.subscriptions(client_id)
        context.environment.stop_broker(kill=True)
        context.environment.empty_broker()
        context.environment.broker.start()
        if not context.recorder.wait_for_subscription(client_id, before, min(30.0, context.recovery_timeout)):
            raise FaultNotInjectedError("the consumer did not subscribe again")
        context.allow_messages(None)
        time.sleep(0.5)  # new messages take the old ids
    finally:
        context.database.thaw()
    context.wait_until(
        lambda: not context.observer.search(sorted(held)),
        min(30.0, context.recovery_timeout),
        "storing what was held",
    )
    context.deliveries.confirm(held)


def cut(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Close the consumer's connection, some times in a row."""
    context.let_messages_flow()
    for _ in range(int(parameters["times"])):
        context.recorder.cut()
        time.sleep(context.chance.uniform(0.0, 1.5))


def frozen(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Leave the connection half open: neither side hears the other.

    New connections work.
    """
    links = context.recorder.links()
    context.allow_messages(None)
    context.recorder.freeze(new_ones=False)
    deadline = time.monotonic() + 4 * KEEPALIVE_S
    while time.monotonic() < deadline and not set(context.recorder.links()) - set(links):
        time.sleep(0.05)
    for link in links:
        link.cut()


def slow(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Delay every packet."""
    context.let_messages_flow()
    context.recorder.delay = 0.02
    time.sleep(float(parameters["seconds"]))
    context.recorder.delay = 0.0


def pubacks_lost(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Swallow the PUBACKs, so that the broker delivers the window again."""
    context.recorder.swallow = True
    context.let_messages_flow()
    time.sleep(float(parameters["seconds"]))
    context.recorder.cut()
    context.recorder.swallow = False


FAULTS: dict[str, FaultFunction] = {
    "broker_restart": restart,
    "broker_away": away,
    "broker_emptied": emptied,
    "connection_cut": cut,
    "connection_frozen": frozen,
    "connection_slow": slow,
    "pubacks_lost": pubacks_lost,
}
