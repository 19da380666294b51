"""Faults of the consumer's process."""

import signal
import time
from typing import Any

from lab.torture.gang import Member
from lab.torture.scene import Attack, FaultMissedError, Scene
from lab.torture.stage import DATABASE

OLD_DONE_S = 20.0


def kill(scene: Scene, parameters: dict[str, Any]) -> None:
    """SIGKILL by its own hand at a named point."""
    member, point, times = scene.member(), str(parameters["point"]), int(parameters["times"])
    if point in ("connected", "subscribed", "finishing", "set_aside"):
        times = 1
    member.arm(point, times)
    time.sleep(0.05)
    scene.open_gate(None)
    if point in ("connected", "subscribed"):
        scene.tap.cut()
    elif point == "finishing":
        time.sleep(0.2)
        member.signal(signal.SIGTERM)
    hit = member.wait_dead(min(10.0, scene.patience))
    if not hit:
        member.kill()
    scene.gang.revive()
    if not hit:
        raise FaultMissedError(f"{point} was not reached {times} times; killed somewhere else instead")


def sigterm(scene: Scene, parameters: dict[str, Any]) -> None:
    """Stop in order under load: it must end by itself, with status 0."""
    member = scene.member()
    scene.flow()
    _stop(scene, member)
    scene.gang.revive()


def sigterm_alone(scene: Scene, parameters: dict[str, Any]) -> None:
    """Stop in order while the database is away: what is in hand must stay with the broker."""
    member = scene.member()
    scene.stage.postgres.stop()
    scene.flow()
    _stop(scene, member)
    scene.stage.postgres.start(DATABASE)
    scene.gang.revive()


def _stop(scene: Scene, member: Member) -> None:
    member.signal(signal.SIGTERM)
    if not member.wait_dead(10.0):
        scene.accuse("I7", "the consumer did not stop within 10 s of SIGTERM")
        member.kill()
    elif member.process.returncode != 0:
        scene.accuse("I7", f"the consumer ended with status {member.process.returncode} after SIGTERM")


def sigstop(scene: Scene, parameters: dict[str, Any]) -> None:
    """Freeze the process, longer than the broker's patience by chance."""
    member = scene.member()
    scene.flow()
    member.signal(signal.SIGSTOP)
    time.sleep(float(parameters["seconds"]))
    member.signal(signal.SIGCONT)


def usurped(scene: Scene, parameters: dict[str, Any]) -> None:
    """The frozen leader loses its lock to a standby and wakes up: it must not write, and step back."""
    old = scene.member()
    standby = _standby(scene, old.client_id)
    scene.flow()
    old.signal(signal.SIGSTOP)
    subscriptions = scene.tap.subscriptions(old.client_id)
    scene.witness.end_sessions()
    took_over = _wait_for_takeover(scene, old.client_id, subscriptions)
    old.signal(signal.SIGCONT)
    scene.gang.members[old.client_id] = standby
    time.sleep(1.0)
    old.signal(signal.SIGTERM)
    if not old.wait_dead(OLD_DONE_S):
        old.kill()
        scene.accuse("I7", "the former leader did not stop")
    if not took_over:
        raise FaultMissedError("the standby did not take over")


def takeover(scene: Scene, parameters: dict[str, Any]) -> None:
    """The leader dies, the standby goes on with the same session."""
    old = scene.member()
    standby = _standby(scene, old.client_id)
    scene.flow()
    old.kill()
    scene.gang.members[old.client_id] = standby


def second_consumer(scene: Scene, parameters: dict[str, Any]) -> None:
    """A second one with the same client id must refuse to work, and say so by its status."""
    scene.flow()
    client_id = scene.member().client_id
    second = scene.gang.spawn(client_id, standby=False)
    if not second.wait_dead(20.0):
        scene.accuse("I7", "a second consumer with the same client id keeps running")
        second.kill()
    elif second.process.returncode != 1:
        scene.accuse(
            "I7",
            f"a second consumer with the same client id ended with status {second.process.returncode}, not 1",
        )


def member_joins(scene: Scene, parameters: dict[str, Any]) -> None:
    """One more in the share group, another one killed; it comes back, or what waits for it would wait for ever."""
    scene.flow()
    victim = scene.member()
    scene.gang.start(f"{victim.client_id.rsplit('+', 1)[0]}+{len(scene.gang.members)}")
    victim.kill()
    scene.gang.revive()


def _standby(scene: Scene, client_id: str) -> Member:
    standby = scene.gang.spawn(client_id)
    if not standby.wait_for_log("standing by", 20.0):
        standby.kill()
        raise FaultMissedError("the standby did not get ready")
    return standby


def _wait_for_takeover(scene: Scene, client_id: str, subscriptions: int) -> bool:
    return scene.tap.wait_for_subscription(client_id, subscriptions, 15.0)


ATTACKS: dict[str, Attack] = {
    "kill": kill,
    "sigterm": sigterm,
    "sigterm_alone": sigterm_alone,
    "sigstop": sigstop,
    "usurped": usurped,
    "takeover": takeover,
    "second_consumer": second_consumer,
    "member_joins": member_joins,
}
