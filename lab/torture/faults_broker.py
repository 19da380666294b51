"""Faults of the broker and of the network to it. None of them kills it: that loses messages, and is measured by itself."""

import time
from typing import Any

from lab.torture.scene import Attack, FaultMissedError, Scene
from lab.torture.stage import KEEPALIVE_S

HELD = 60  # messages that the consumer holds while its broker forgets everything


def restart(scene: Scene, parameters: dict[str, Any]) -> None:
    """SIGTERM: it saves queues and sessions."""
    scene.flow()
    scene.stage.stop_broker()
    scene.stage.broker.start()


def away(scene: Scene, parameters: dict[str, Any]) -> None:
    """Nobody listens for a while."""
    scene.flow()
    scene.stage.stop_broker()
    time.sleep(float(parameters["seconds"]))
    scene.stage.broker.start()


def emptied(scene: Scene, parameters: dict[str, Any]) -> None:
    """The broker loses sessions and queues while the consumer holds unacknowledged messages, and counts packet ids from 1 again.

    What the consumer holds it must store, but not acknowledge: the ids belong to new messages now. The publisher pauses, so that
    nothing is at the broker alone.
    """
    client_id = scene.member().client_id
    scene.database.freeze(new_ones=True)
    try:
        scene.open_gate(scene.ledger.counts()[0] + HELD)
        time.sleep(0.3)
        scene.wait_until(
            lambda: scene.ledger.counts()[0] == scene.ledger.counts()[1], 10, "the broker's acknowledgement"
        )
        scene.wait_until(lambda: not scene.ledger.undelivered(), 10, "the delivery")
        held = scene.ledger.outstanding()
        before = scene.tap.subscriptions(client_id)
        scene.stage.stop_broker(kill=True)
        scene.stage.empty_broker()
        scene.stage.broker.start()
        if not scene.tap.wait_for_subscription(client_id, before, min(30.0, scene.patience)):
            raise FaultMissedError("the consumer did not subscribe again")
        scene.open_gate(None)
        time.sleep(0.5)  # new messages take the old ids
    finally:
        scene.database.thaw()
    scene.wait_until(
        lambda: not scene.witness.search(sorted(held)), min(30.0, scene.patience), "storing what was held"
    )
    scene.ledger.confirm(held)


def cut(scene: Scene, parameters: dict[str, Any]) -> None:
    """Close the connection, some times in a row."""
    scene.flow()
    for _ in range(int(parameters["times"])):
        scene.tap.cut()
        time.sleep(scene.chance.uniform(0.0, 1.5))


def frozen(scene: Scene, parameters: dict[str, Any]) -> None:
    """Half open: neither side hears the other, neither is told. New connections work."""
    links = scene.tap.links()
    scene.open_gate(None)
    scene.tap.freeze(new_ones=False)
    deadline = time.monotonic() + 4 * KEEPALIVE_S
    while time.monotonic() < deadline and not set(scene.tap.links()) - set(links):
        time.sleep(0.05)
    for link in links:
        link.cut()


def slow(scene: Scene, parameters: dict[str, Any]) -> None:
    """Every packet is late."""
    scene.flow()
    scene.tap.delay = 0.02
    time.sleep(float(parameters["seconds"]))
    scene.tap.delay = 0.0


def pubacks_lost(scene: Scene, parameters: dict[str, Any]) -> None:
    """The broker never hears the acknowledgements, and delivers the window again."""
    scene.tap.swallow = True
    scene.flow()
    time.sleep(float(parameters["seconds"]))
    scene.tap.cut()
    scene.tap.swallow = False


ATTACKS: dict[str, Attack] = {
    "broker_restart": restart,
    "broker_away": away,
    "broker_emptied": emptied,
    "connection_cut": cut,
    "connection_frozen": frozen,
    "connection_slow": slow,
    "pubacks_lost": pubacks_lost,
}
