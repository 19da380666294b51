"""The subject of a dashboard: a Conta at a moment, the filter, the devices in it."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from tds_new import formats
from tds_new.models import Conta, Dispositivo, Gateway
from tds_new.queries.fleet import Sequences
from tds_new.queries.sums import Measure, counted, measure_of, unit_of_blocks
from tds_new.web.filters import MAX_SERIES, Filter

MAX_CHARTS = 6
SERIES_UNFILTERED = 4
ENERGY = Measure(Dispositivo.Grandeza.ENERGIA, "kWh")
_ORDER = list(Dispositivo.Grandeza.values)


@dataclass(frozen=True)
class Scope:
    """The Conta, the moment, the filter, and the active fleet of the Conta."""

    conta: Conta
    filter: Filter
    now: datetime
    sequences: Sequences
    all_devices: list[Dispositivo]
    gateways: list[Gateway]

    @property
    def devices(self) -> list[Dispositivo]:
        """Return the devices that the page is about: those selected, or all."""
        return self.filter.selected or self.all_devices

    @property
    def gateways_in_view(self) -> list[Gateway]:
        """Return the gateways of those devices; without a selection all gateways."""
        if not self.filter.selected:
            return self.gateways
        ids = {d.gateway_id for d in self.filter.selected}
        return [g for g in self.gateways if g.pk in ids]

    @cached_property
    def never_measured(self) -> bool:
        """Return whether no reading ever came for this Conta."""
        return self.sequences.last_reading is None and all(d.last_seen is None for d in self.all_devices)

    @cached_property
    def names(self) -> dict[int, str]:
        """Return the devices' names by id, with the gateway's code where two are equal."""
        times = Counter(str(d) for d in self.all_devices)
        return {d.pk: f"{d} ({d.gateway.codigo})" if times[str(d)] > 1 else str(d) for d in self.all_devices}

    @cached_property
    def counted(self) -> list[Dispositivo]:
        """Return the devices that totals are made of."""
        return [d for d in counted(self.devices) if not is_gauge(d)]

    @cached_property
    def with_sub_meters(self) -> set[Measure]:
        """Return the measures of which some meters in view are behind others in view."""
        total = {device.pk for device in self.counted}
        return {measure_of(d) for d in self.devices if d.atras and d.pk not in total and not is_gauge(d)}

    @property
    def demand_meters(self) -> list[Dispositivo]:
        """Return the meters whose demand is looked at: those of consumed energy, in kWh."""
        return [
            d
            for d in self.devices
            if measure_of(d) == ENERGY and unit_of_blocks(d) == ENERGY.unidade and not is_gauge(d)
        ]

    @property
    def charted(self) -> dict[str, list[Dispositivo]]:
        """Return the devices to draw, by the unit of their chart.

        These are the selected ones, or the first four of each unit, those with readings in the window first.
        """
        by_unit: dict[str, list[Dispositivo]] = {}
        for device in sorted(self.devices, key=self._charted_first):
            by_unit.setdefault(chart_unit(device), []).append(device)
        limit = MAX_SERIES if self.filter.selected else SERIES_UNFILTERED
        return {unit: group[:limit] for unit, group in list(by_unit.items())[:MAX_CHARTS]}

    def _charted_first(self, device: Dispositivo) -> tuple[int, bool]:
        silent = device.last_seen is None or device.last_seen < self.filter.window.start
        return _ORDER.index(device.grandeza), silent


def is_gauge(device: Dispositivo) -> bool:
    """Return whether the device measures a state (a gauge), not consumption."""
    return device.tipo_leitura == Dispositivo.TipoLeitura.INSTANTANEA


def chart_unit(device: Dispositivo) -> str:
    """Return the unit in which a device is drawn.

    It is its own for gauges, the rate per hour for consumption.
    """
    return device.unidade if is_gauge(device) else formats.rate(unit_of_blocks(device))
