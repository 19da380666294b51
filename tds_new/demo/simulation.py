"""Simulated gateways: the messages that a registered gateway would publish."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from tds_new.demo.curves import ENERGY, GAS, SUN, WATER, Consumption, Gauge, Part, chance, gauge, register
from tds_new.demo.fleet import shares
from tds_new.models import Dispositivo, Gateway

_G, _L = Dispositivo.Grandeza, Dispositivo.TipoLeitura

# Working days of a shop, in kWh and m³; each device takes a part of them that its identity decides.
_METERS = {
    _G.ENERGIA: Consumption(per_day=420, weekend=0.55, hours=ENERGY),
    _G.AGUA: Consumption(per_day=14, weekend=0.6, hours=WATER),
    _G.GAS: Consumption(per_day=22, weekend=0.4, hours=GAS),
}
_PANELS = Consumption(per_day=90, weekend=1, hours=SUN)
_OTHER_METER = Consumption(per_day=100, weekend=0.7, hours=ENERGY)
_FREEZER = Gauge(mean=-18.5, swing=1.5, noise=0.6)
_GAUGES = {
    _G.TEMPERATURA: Gauge(mean=23, swing=4, noise=0.4),
    _G.UMIDADE: Gauge(mean=60, swing=12, noise=2, peak=5),
    _G.TENSAO: Gauge(mean=220, swing=3, noise=1.5, peak=4),
    _G.FATOR_POTENCIA: Gauge(mean=0.93, swing=0.03, noise=0.01),
    _G.NIVEL: Gauge(mean=60, swing=25, noise=1, peak=4),
}
_OTHER_GAUGE = Gauge(mean=50, swing=20, noise=3)
_COLD = ("fria", "congel", "freezer")
_SOLAR = "solar"
_UNITS = {"Wh": 1000.0, "MWh": 0.001, "L": 1000.0, "l": 1000.0}
_PULSES = "pulsos"
# The sub-meters of the demonstration measure shares of their main meters. By their identity, not by what is
# registered: where people change the structure, no register may jump.
_SHARES = shares()

FIRMWARE = "sim-1.0"


@dataclass(frozen=True, slots=True)
class SimulatedDevice:
    """A device with the curve that it follows; ``seed`` is its identity."""

    codigo: str
    unidade: str
    tipo_leitura: str
    seed: str
    curve: Consumption | Part | Gauge

    def value(self, moment: datetime, since: datetime, zone: ZoneInfo) -> int:
        """Return the value at ``moment``, in thousandths of the unit.

        It is the register, the consumption since ``since``, or the gauge's value.
        """
        if isinstance(self.curve, Gauge):
            return gauge(self.seed, self.curve, moment, zone)
        now = self._register(self.curve, moment, zone)
        return now - self._register(self.curve, since, zone) if self.tipo_leitura == _L.INCREMENTAL else now

    def _register(self, curve: Consumption | Part, moment: datetime, zone: ZoneInfo) -> int:
        """Return the thousandths on the register; pulses are counted whole."""
        thousandths = register(self.seed, curve, moment, zone)
        return thousandths // 1000 * 1000 if self.unidade == _PULSES else thousandths


@dataclass(frozen=True, slots=True)
class SimulatedGateway:
    """A registered gateway and its active devices."""

    mac: str
    codigo: str
    zone: ZoneInfo
    devices: tuple[SimulatedDevice, ...]

    @property
    def user(self) -> str:
        """Its user name at the broker."""
        return self.mac.replace(":", "")

    def topic(self, prefix: str, leaf: str) -> str:
        """Return its topic ``{prefix}/{mac}/{leaf}``."""
        return f"{prefix}/{self.mac}/{leaf}"

    def telemetry(self, moment: datetime, since: datetime, seq: int | None = None) -> bytes:
        """Return a telemetry payload for ``moment`` (aware).

        ``since`` is the time of the one before.
        """
        readings = [
            {
                "dispositivo_codigo": device.codigo,
                "valor": device.value(moment, since, self.zone) / 1000,
                "unidade": device.unidade,
            }
            for device in self.devices
        ]
        body = {"gateway_mac": self.mac, "timestamp": _iso(moment), "leituras": readings}
        return json.dumps(body if seq is None else {**body, "seq": seq}, ensure_ascii=False).encode("utf-8")

    def heartbeat(self, moment: datetime, started: datetime) -> bytes:
        """Return a heartbeat payload.

        It has the firmware, the seconds since ``started``, and a signal strength in dBm.
        """
        rssi = -55 - int(25 * chance(self.mac, int(moment.timestamp()) // 60))
        uptime = int((moment - started).total_seconds())
        return json.dumps({"firmware_version": FIRMWARE, "uptime_s": uptime, "rssi": rssi}).encode("ascii")


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def simulated(gateways: Iterable[Gateway]) -> list[SimulatedGateway]:
    """Return the simulation of registered gateways with their active devices.

    Those without any are left out.
    """
    fleet = [
        SimulatedGateway(
            gateway.mac,
            gateway.codigo,
            gateway.conta.zone,
            tuple(
                _device(gateway, each)
                for each in gateway.dispositivos.all()
                if each.status == Dispositivo.Status.ATIVO
            ),
        )
        for gateway in gateways
    ]
    return [gateway for gateway in fleet if gateway.devices]


def registered(count: int | None = None) -> list[Gateway]:
    """Return the first ``count`` active gateways with their devices.

    The longest registered come first.
    """
    rows = Gateway.objects.filter(
        is_active=True, conta__is_active=True, dispositivos__status=Dispositivo.Status.ATIVO
    )
    return list(
        rows.select_related("conta").prefetch_related("dispositivos").distinct().order_by("pk")[:count]
    )


def _device(gateway: Gateway, device: Dispositivo) -> SimulatedDevice:
    seed = f"{gateway.mac}/{device.codigo}"
    return SimulatedDevice(device.codigo, device.unidade, device.tipo_leitura, seed, _curve(device, seed))


def _curve(device: Dispositivo, seed: str) -> Consumption | Part | Gauge:
    grandeza = _G(device.grandeza)
    if device.tipo_leitura == _L.INSTANTANEA:
        cold = grandeza == _G.TEMPERATURA and any(word in device.nome.lower() for word in _COLD)
        return _FREEZER if cold else _GAUGES.get(grandeza, _OTHER_GAUGE)
    mac = device.gateway.mac
    if share := _SHARES.get((mac, device.codigo)):
        main_seed = f"{mac}/{share.main}"
        return Part(main_seed, _meter(_METERS[grandeza], main_seed), share.least, share.most)
    solar = grandeza == _G.ENERGIA and _SOLAR in device.nome.lower()
    curve = _PANELS if solar else _METERS.get(grandeza, _OTHER_METER)
    return _meter(curve, seed, _units_per_base_unit(device))


def _meter(curve: Consumption, seed: str, units: float = 1.0) -> Consumption:
    """Return the curve of the meter ``seed``: its part of ``curve``, in its own unit.

    ``units`` is how many of them make a kWh or a m³.
    """
    part = (0.4 + 1.2 * chance(seed, "size")) * units
    return Consumption(curve.per_day * part, curve.weekend, curve.hours)


def _units_per_base_unit(device: Dispositivo) -> float:
    """Return how many of the device's units make a kWh or a m³."""
    if device.unidade == _PULSES and device.fator_conversao:
        return float(1 / device.fator_conversao)
    return _UNITS.get(device.unidade, 1.0)


def schedule(start: datetime, end: datetime, step: timedelta) -> Sequence[datetime]:
    """Return the multiples of ``step`` since the epoch in ``(start, end]``."""
    seconds = step.total_seconds()
    first = int(start.timestamp() // seconds) + 1
    last = int(end.timestamp() // seconds)
    return [datetime.fromtimestamp(number * seconds, UTC) for number in range(first, last + 1)]
