"""Every message of a run as a pure function of its number: what is published, and what must come of it."""

import zlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

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
OVERSIZE_BYTES = 65_700  # over the platform's 65,536, under the broker's 66,560
MAX_STORED_BYTES = 65_536

DEVICES = {"D01": "kWh", "D02": "m\u00b3", "D03": "\u00b0C"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What the messages of a run are made of. ``start`` is ISO 8601; gateway MACs carry the number of the ``fleet``."""

    seed: int
    messages: int
    start: str
    fleet: int = 1
    gateways: int = 20
    prefix: str = "tds_new/devices"
    with_seq: bool = False

    def as_dict(self) -> dict[str, object]:
        """For another process."""
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
        """What identifies a reading."""
        return self.mac, self.codigo, self.time


@dataclass(frozen=True, slots=True)
class PlannedMessage:
    """One message. ``identity`` is the number inside its payload: a duplicate carries the one of its original.

    ``rejections`` are (motivo, index) of what must be rejected.
    """

    number: int
    identity: int
    kind: str
    topic: str
    payload: bytes
    readings: tuple[ExpectedReading, ...] = ()
    rejections: tuple[tuple[str, int | None], ...] = ()


def new_plan(seed: int, messages: int, *, fleet: int = 1, with_seq: bool = False) -> Plan:
    """A plan whose readings all lie in the last days, none in the future."""
    gateways = 20
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=messages // gateways + 7_200)
    return Plan(seed, messages, start.isoformat(), fleet, gateways, with_seq=with_seq)


def mac_of(plan: Plan, gateway: int, known: bool = True) -> str:
    """The MAC of a gateway; one that nobody registered where ``known`` is False."""
    digits = f"{'02' if known else '06'}{plan.fleet:04x}{gateway:06x}"
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


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
    """What the message is. Duplicates and conflicts refer to a normal message of the same gateway shortly before."""
    kind = _raw_kind(plan, number)
    if plan.with_seq and (kind == DUPLICATE or kind in _BAD_MESSAGES):
        return "normal"  # what cannot be read has no seq to be answered, and a duplicate has its original's
    if kind in (DUPLICATE, CONFLICT) and _raw_kind(plan, _original(plan, number)) != "normal":
        return "normal"
    return kind


def _original(plan: Plan, number: int) -> int:
    return number - plan.gateways * (1 + _chance(plan, f"original {number}") % 4)


def values(number: int) -> dict[str, Decimal]:
    """The readings of a normal message: two registers, and a temperature that may be negative."""
    return {
        "D01": Decimal(4_000_000_000 + number).scaleb(-2),
        "D02": Decimal(137 * number).scaleb(-4),
        "D03": Decimal(number % 400 - 100).scaleb(-1),
    }


def message_of(plan: Plan, number: int) -> PlannedMessage:
    """The message of this number."""
    kind = kind_of(plan, number)
    if kind == DUPLICATE:
        original = message_of(plan, _original(plan, number))
        return PlannedMessage(
            number, original.identity, kind, original.topic, original.payload, original.readings
        )
    gateway = number % plan.gateways
    base = _original(plan, number) if kind == CONFLICT else number
    time = datetime.fromisoformat(plan.start) + timedelta(seconds=base // plan.gateways)
    return _Builder(plan, number, kind, mac_of(plan, gateway), time, values(base)).build()


class _Builder:
    """Puts one message together."""

    def __init__(
        self, plan: Plan, number: int, kind: str, mac: str, time: datetime, valores: dict[str, Decimal]
    ) -> None:
        self.plan, self.number, self.kind, self.mac, self.time, self.valores = (
            plan,
            number,
            kind,
            mac,
            time,
            valores,
        )
        self.claimed = self.topic_mac = mac
        self.extra = ""
        self.bad: tuple[str, str] | None = (
            None  # a bad reading between good neighbours: its text and its motivo
        )

    def build(self) -> PlannedMessage:
        kind, good = self.kind, True
        whole: str | None = None
        if kind == CONFLICT:
            self.valores = {**self.valores, "D01": self.valores["D01"] + 1}
        elif kind == "nul_stored":
            self.extra = '"nota": "a\\u0000b", '
        elif kind in _BAD_READINGS:
            self.bad = _BAD_READINGS[kind]
        elif kind in _BAD_MESSAGES:
            whole, good = _BAD_MESSAGES[kind], False
        rejections: tuple[tuple[str, int | None], ...] = ()
        if kind == CONFLICT:
            rejections = (("conflito", 0),)
        elif whole:
            rejections = ((whole, None),)
        elif self.bad:
            rejections = ((self.bad[1], 1),)
        readings = (
            [ExpectedReading(self.mac, codigo, self.time, valor) for codigo, valor in self.valores.items()]
            if good
            else []
        )
        payload = self._payload()
        topic = f"{self.plan.prefix}/{self.topic_mac}/telemetry"
        return PlannedMessage(self.number, self.number, kind, topic, payload, tuple(readings), rejections)

    def _payload(self) -> bytes:
        if self.kind == "other_mac":
            self.claimed = mac_of(self.plan, (self.number + 1) % self.plan.gateways)
        elif self.kind == "unknown_gateway":
            self.claimed = self.topic_mac = mac_of(self.plan, self.number % self.plan.gateways, known=False)
        leituras = [
            f'{{"dispositivo_codigo": "{codigo}", "valor": {valor}, "unidade": "{DEVICES[codigo]}"}}'
            for codigo, valor in self.valores.items()
        ]
        if self.bad:
            leituras.insert(1, self.bad[0])
        seq = f'"seq": {self.number}, ' if self.plan.with_seq else ""
        text = (
            f'{{"n": {self.number}, {seq}{self.extra}"gateway_mac": "{self.claimed}", "timestamp": "{self.time.isoformat()}", '
            f'"leituras": [{", ".join(leituras)}]}}'
        )
        if self.kind == "broken_json":
            return text[:-2].encode()
        if self.kind == "invalid_utf8":
            return text.encode()[:-1] + b', "x": "\xff\xfe"}'
        if self.kind == "oversize":
            return text.encode() + b" " * (OVERSIZE_BYTES - len(text.encode()))
        return text.encode()


_BAD_READINGS = {
    "not_a_number": ('{"dispositivo_codigo": "D01", "valor": NaN, "unidade": "kWh"}', "valor_invalido"),
    "huge_number": ('{"dispositivo_codigo": "D02", "valor": 1e400, "unidade": "m3"}', "valor_invalido"),
    "unknown_device": (
        '{"dispositivo_codigo": "D99", "valor": 1.5, "unidade": "kWh"}',
        "dispositivo_desconhecido",
    ),
    "nul_codigo": (
        '{"dispositivo_codigo": "D\\u000001", "valor": 1.5, "unidade": "kWh"}',
        "dispositivo_desconhecido",
    ),
    "far_future": (
        '{"dispositivo_codigo": "D01", "valor": 2, "timestamp": "2999-01-01T00:00:00Z"}',
        "timestamp_futuro",
    ),
    "no_offset": (
        '{"dispositivo_codigo": "D01", "valor": 2, "timestamp": "2026-01-01T00:00:00"}',
        "timestamp_invalido",
    ),
    "wrong_unit": ('{"dispositivo_codigo": "D01", "valor": 2, "unidade": "Wh"}', "unidade_invalida"),
}
_BAD_MESSAGES = {
    "broken_json": "json_invalido",
    "invalid_utf8": "json_invalido",
    "unknown_gateway": "gateway_desconhecido",
    "other_mac": "mac_divergente",
    "oversize": "limite_excedido",
}
