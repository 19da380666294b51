"""The faults of a run, their places in the stream and their parameters.

Pure: one seed gives one schedule.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Parameters = dict[str, float | str]

KILL_POINTS = (
    "connected",
    "subscribed",
    "received",
    "parsed",
    "copied",
    "rejected",
    "before_commit",
    "after_commit",
    "before_puback",
    "half_of_pubacks",
    "all_pubacks",
    "finishing",
)
# Errors of conflicts between transactions, a full disk, a failing disk, a migration under way, a lost
# privilege and a bug of the server.
SQLSTATES = ("40001", "40P01", "53100", "58030", "42P01", "42501", "XX000")
COMMITS = ("cut_before", "cut_after", "terminate")


@dataclass(frozen=True, slots=True)
class Fault:
    """The ``number``-th fault of a run, from 1.

    It is injected when the broker has acknowledged ``at`` messages to the publisher.
    """

    number: int
    kind: str
    at: int
    parameters: Parameters = field(default_factory=dict)

    def __str__(self) -> str:
        return " ".join([self.kind, *(f"{name}={value}" for name, value in self.parameters.items())])


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A kind of fault.

    ``text`` describes it, ``parameters`` chooses its parameters by chance, ``target`` is the longest recovery
    in seconds (I7). ``shared`` says whether it makes sense with several consumers in one share group too.
    """

    text: str
    parameters: Callable[[random.Random], Parameters]
    target: float = 15.0
    shared: bool = True


def _none(_: random.Random) -> Parameters:
    return {}


def _seconds(least: float, most: float) -> Callable[[random.Random], Parameters]:
    return lambda chance: {"seconds": round(chance.uniform(least, most), 1)}


KINDS: dict[str, FaultKind] = {
    "kill": FaultKind(
        "consumer killed with SIGKILL at a named point",
        lambda c: {"point": c.choice(KILL_POINTS), "times": c.randint(1, 3)},
    ),
    "sigterm": FaultKind("consumer stopped with SIGTERM under load, started again", _none),
    "sigterm_alone": FaultKind("SIGTERM while the database is away", _none),
    "sigstop": FaultKind("consumer frozen by SIGSTOP, then SIGCONT", _seconds(1, 9)),
    "usurped": FaultKind(
        "consumer frozen, its lock lost, a standby takes over, then SIGCONT", _none, shared=False
    ),
    "takeover": FaultKind("active consumer killed while a standby waits", _none, target=10.0, shared=False),
    "second_consumer": FaultKind("a second consumer with the same client id", _none, shared=False),
    "postgres_restart": FaultKind("PostgreSQL restarted in order", _none),
    "postgres_crash": FaultKind("PostgreSQL ended like a power cut (SIGQUIT), started again", _none),
    "postgres_away": FaultKind("PostgreSQL away for some seconds", _seconds(2, 6)),
    "terminate": FaultKind("the consumer's session ended by pg_terminate_backend", _none),
    "commit": FaultKind(
        "connection lost around a COMMIT: outcome unknown", lambda c: {"how": c.choice(COMMITS)}
    ),
    "cancel": FaultKind("statements cancelled (57014), as by a timeout", _seconds(0.5, 2)),
    "lock": FaultKind("the readings locked for longer than lock_timeout", _seconds(5.5, 7), target=20.0),
    "read_only": FaultKind("database read-only, as after a failover (25006)", _seconds(1, 3)),
    "no_connections": FaultKind("database refuses connections", _seconds(1, 3)),
    "sqlstate": FaultKind(
        "every insert fails with a SQLSTATE", lambda c: {"state": c.choice(SQLSTATES), **_seconds(0.5, 2)(c)}
    ),
    "database_cut": FaultKind("network to the database cut", _none),
    "database_frozen": FaultKind("network to the database frozen", _seconds(1, 5)),
    "database_slow": FaultKind("network to the database slow: 100 ms a packet", _seconds(2, 4), target=20.0),
    # Not in a group: Mosquitto 2.0 does not save shared subscriptions, so until each member has subscribed
    # again it acknowledges messages that it keeps for nobody (3 of 3 lost on 2.0.11). Only the application's
    # acknowledgement closes that.
    "broker_restart": FaultKind("Mosquitto stopped in order and started", _none, shared=False),
    "broker_away": FaultKind("Mosquitto away for some seconds", _seconds(1, 4), shared=False),
    "broker_emptied": FaultKind(
        "Mosquitto restarted without its store while the consumer holds messages (stale ids)",
        _none,
        shared=False,
    ),
    "connection_cut": FaultKind("connection to the broker cut", lambda c: {"times": c.randint(1, 3)}),
    "connection_frozen": FaultKind("connection to the broker half open", _none, target=25.0),
    "connection_slow": FaultKind(
        "connection to the broker slow: 20 ms a packet", _seconds(1, 3), target=20.0
    ),
    "pubacks_lost": FaultKind(
        "PUBACKs swallowed, then the connection cut: the whole window again", _seconds(0.5, 1.5)
    ),
}
MEMBERS = FaultKind("a consumer joins the share group, another one is killed", _none)
KINDS["member_joins"] = MEMBERS
SINGLE_ONLY = frozenset({name for name, kind in KINDS.items() if not kind.shared})
GROUP_ONLY = frozenset({"member_joins"})


def make_schedule(
    seed: int, messages: int, faults: int, *, group: bool = False, kinds: Sequence[str] = ()
) -> list[Fault]:
    """Return the faults of a run: every kind in turn, shuffled, at uneven distances.

    ``messages`` is the length of the run, ``faults`` how many there are, ``group`` whether several consumers
    form a share group. With ``kinds`` the faults are exactly these, in their order. Raises ValueError if
    there are fewer than 20 messages a fault, or a kind is unknown.
    """
    chance = random.Random(f"torture {seed} {messages} {faults} {group}")
    unknown = set(kinds) - KINDS.keys()
    if unknown:
        raise ValueError(f"no such fault: {', '.join(sorted(unknown))}")
    if faults and messages // faults < 20:
        raise ValueError(f"{messages} messages are too few for {faults} faults; at least 20 for each")
    possible = [name for name in KINDS if name not in (SINGLE_ONLY if group else GROUP_ONLY)]
    order = list(kinds)
    while not kinds and len(order) < faults:
        order += chance.sample(possible, len(possible))
    step = messages / (faults + 1)
    schedule = []
    for number, kind in enumerate(order[:faults], 1):
        at = int(step * (number + chance.uniform(-0.3, 0.3)))
        schedule.append(Fault(number, kind, at, KINDS[kind].parameters(chance)))
    return schedule
