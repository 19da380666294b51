"""Every message of a run, with its expected outcome.

Each is a pure function of its number.
"""

import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from lab.harness.macs import mac_address

PREFIX = "tds_new/devices"
DUPLICATE, CONFLICT = "duplicate", "conflict"
# FaultKind and its share in thousandths; the rest is normal.
SHARES = {DUPLICATE: 30, CONFLICT: 20, "nul_stored": 10}
POISON = (
    "broken_json",
    "invalid_utf8",
    "not_a_number",
    "huge_number",
    "unknown_device",
    "nul_codigo",
    "unknown_gateway",
    "other_mac",
    "far_future",
    "no_offset",
    "wrong_unit",
)
POISON_SHARE = 60
OVERSIZE_SHARE = 1
POISON_BLOCK, POISON_BLOCKS = 50, 20  # of every 20th block of 50 messages, half are poison
OVERSIZE_BYTES = 65_700  # over the platform's 65,536, under the broker's 1 MiB
MAX_STORED_BYTES = 65_536

DEVICES = {"D01": "kWh", "D02": "m\u00b3", "D03": "\u00b0C"}


@dataclass(frozen=True, slots=True)
class Plan:
    """The parameters that the messages of a run follow from.

    ``start`` is the first readings' time (ISO 8601); gateway MACs carry the number of the ``fleet``. With
    ``with_seq`` every message asks for the platform's answer.
    """

    seed: int
    messages: int
    start: str
    fleet: int = 1
    gateways: int = 20
    prefix: str = PREFIX
    with_seq: bool = False

    def as_dict(self) -> dict[str, object]:
        """Return the plan for another process."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ExpectedReading:
    """One reading that must be stored, or be rejected where another value was first."""

    mac: str
    codigo: str
    time: datetime
    valor: Decimal

    @property
    def key(self) -> tuple[str, str, datetime]:
        """The key of a reading: MAC, device code, time."""
        return self.mac, self.codigo, self.time


@dataclass(frozen=True, slots=True)
class PlannedMessage:
    """One message, with its expected outcome.

    ``identity`` is the number inside its payload: a duplicate carries the one of its original.
    ``rejections`` are the motivo and index of what must be rejected; an index of None is the whole message.
    """

    number: int
    identity: int
    kind: str
    topic: str
    payload: bytes
    readings: tuple[ExpectedReading, ...] = ()
    rejections: tuple[tuple[str, int | None], ...] = ()


def new_plan(
    seed: int, messages: int, *, fleet: int = 1, with_seq: bool = False, prefix: str = PREFIX
) -> Plan:
    """Make a plan whose readings all lie in the last days, none in the future.

    ``prefix`` is the topics'.
    """
    gateways = 20
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=messages // gateways + 7_200)
    return Plan(seed, messages, start.isoformat(), fleet, gateways, prefix, with_seq)


def mac_of(plan: Plan, gateway: int, known: bool = True) -> str:
    """Return the MAC of a gateway.

    It is one that nobody has registered if ``known`` is False.
    """
    return mac_address(f"{'02' if known else '06'}{plan.fleet:04x}{gateway:06x}")


def conta_of(plan: Plan, gateway: int) -> str:
    """Return the name of a gateway's Conta."""
    return f"Torture {plan.fleet} {'even' if gateway % 2 == 0 else 'odd'}"


def contas_by_mac(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield each MAC of the fleet with the name of its Conta."""
    return ((mac_of(plan, gateway), conta_of(plan, gateway)) for gateway in range(plan.gateways))


def _chance(plan: Plan, text: str) -> int:
    return zlib.crc32(f"{plan.seed}:{text}".encode())


def _raw_kind(plan: Plan, number: int) -> str:
    if number < 5 * plan.gateways:
        return "normal"
    chance = _chance(plan, str(number))
    poison = POISON[chance // 1000 % len(POISON)]
    if _chance(plan, f"block {number // POISON_BLOCK}") % POISON_BLOCKS == 0 and number % 2:
        return poison
    level = chance % 1000
    for kind, share in {**SHARES, poison: POISON_SHARE, "oversize": OVERSIZE_SHARE}.items():
        if level < share:
            return kind
        level -= share
    return "normal"


def kind_of(plan: Plan, number: int) -> str:
    """Return the kind of a message.

    Duplicates and conflicts refer to a normal message of the same gateway shortly before.
    """
    kind = _raw_kind(plan, number)
    if plan.with_seq and kind in (DUPLICATE, "unknown_gateway"):
        return "normal"  # a duplicate has its original's seq, and an unknown gateway is not answered
    if kind in (DUPLICATE, CONFLICT) and _raw_kind(plan, _original(plan, number)) != "normal":
        return "normal"
    return kind


def _original(plan: Plan, number: int) -> int:
    return number - plan.gateways * (1 + _chance(plan, f"original {number}") % 4)


def values(number: int) -> dict[str, Decimal]:
    """Return the values of a normal message by device.

    They are two registers, and a temperature that may be negative.
    """
    return {
        "D01": Decimal(4_000_000_000 + number).scaleb(-2),
        "D02": Decimal(137 * number).scaleb(-4),
        "D03": Decimal(number % 400 - 100).scaleb(-1),
    }


def message_of(plan: Plan, number: int) -> PlannedMessage:
    """Return the message of this number."""
    kind = kind_of(plan, number)
    if kind == DUPLICATE:
        original = message_of(plan, _original(plan, number))
        return PlannedMessage(
            number, original.identity, kind, original.topic, original.payload, original.readings
        )
    gateway = number % plan.gateways
    base = _original(plan, number) if kind == CONFLICT else number
    time = datetime.fromisoformat(plan.start) + timedelta(seconds=base // plan.gateways)
    mac, by_device = mac_of(plan, gateway), values(base)
    topic_mac = claimed_mac = mac
    if kind == "other_mac":
        claimed_mac = mac_of(plan, (number + 1) % plan.gateways)
    elif kind == "unknown_gateway":
        topic_mac = claimed_mac = mac_of(plan, gateway, known=False)
    if kind == CONFLICT:
        by_device["D01"] += 1
    readings: tuple[ExpectedReading, ...] = ()
    if kind not in _BAD_MESSAGES:
        readings = tuple(ExpectedReading(mac, codigo, time, valor) for codigo, valor in by_device.items())
    payload = _damaged(kind, _text(plan, number, kind, claimed_mac, time, by_device).encode())
    topic = f"{plan.prefix}/{topic_mac}/telemetry"
    return PlannedMessage(number, number, kind, topic, payload, readings, _rejections(kind))


def _rejections(kind: str) -> tuple[tuple[str, int | None], ...]:
    """Return what must be rejected of a message of this kind: motivo and index."""
    if kind == CONFLICT:
        return (("conflito", 0),)
    if kind == "oversize":
        return (("mensagem_grande", None),)  # and its readings are stored
    if kind in _BAD_READINGS:
        return ((_BAD_READINGS[kind].motivo, 1),)
    if kind in _BAD_MESSAGES:
        return ((_BAD_MESSAGES[kind], None),)
    return ()


def _text(
    plan: Plan, number: int, kind: str, claimed_mac: str, time: datetime, by_device: dict[str, Decimal]
) -> str:
    """Return the JSON of a message.

    A bad reading is between good neighbours where the kind has one.
    """
    entries = [
        f'{{"dispositivo_codigo": "{codigo}", "valor": {valor}, "unidade": "{DEVICES[codigo]}"}}'
        for codigo, valor in by_device.items()
    ]
    if kind in _BAD_READINGS:
        entries.insert(1, _BAD_READINGS[kind].text)
    seq = f'"seq": {number}, ' if plan.with_seq else ""
    note = '"nota": "a\\u0000b", ' if kind == "nul_stored" else ""
    head = f'"n": {number}, {seq}{note}"gateway_mac": "{claimed_mac}", "timestamp": "{time.isoformat()}"'
    return f'{{{head}, "leituras": [{", ".join(entries)}]}}'


def _damaged(kind: str, payload: bytes) -> bytes:
    """Return the payload with the damage of its kind, if that has any."""
    if kind == "broken_json":
        return payload[:-2]
    if kind == "invalid_utf8":
        return payload[:-1] + b', "x": "\xff\xfe"}'
    if kind == "oversize":
        return payload + b" " * (OVERSIZE_BYTES - len(payload))
    return payload


class _BadReading(NamedTuple):
    """A reading that must be rejected: its JSON, and why."""

    text: str
    motivo: str


_BAD_READINGS = {
    "not_a_number": _BadReading(
        '{"dispositivo_codigo": "D01", "valor": NaN, "unidade": "kWh"}', "valor_invalido"
    ),
    "huge_number": _BadReading(
        '{"dispositivo_codigo": "D02", "valor": 1e400, "unidade": "m3"}', "valor_invalido"
    ),
    "unknown_device": _BadReading(
        '{"dispositivo_codigo": "D99", "valor": 1.5, "unidade": "kWh"}',
        "dispositivo_desconhecido",
    ),
    "nul_codigo": _BadReading(
        '{"dispositivo_codigo": "D\\u000001", "valor": 1.5, "unidade": "kWh"}',
        "dispositivo_desconhecido",
    ),
    "far_future": _BadReading(
        '{"dispositivo_codigo": "D01", "valor": 2, "timestamp": "2999-01-01T00:00:00Z"}',
        "timestamp_futuro",
    ),
    "no_offset": _BadReading(
        '{"dispositivo_codigo": "D01", "valor": 2, "timestamp": "2026-01-01T00:00:00"}',
        "timestamp_invalido",
    ),
    "wrong_unit": _BadReading(
        '{"dispositivo_codigo": "D01", "valor": 2, "unidade": "kvarh"}', "unidade_invalida"
    ),
}
_BAD_MESSAGES = {
    "broken_json": "json_invalido",
    "invalid_utf8": "json_invalido",
    "unknown_gateway": "gateway_desconhecido",
    "other_mac": "mac_divergente",
}
