"""What every block of one dashboard is made from."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from django.utils.translation import gettext as _

from tds_new.models import Conta, Dispositivo, Gateway
from tds_new.queries import fleet
from tds_new.web.filters import Filter

COLOURS = {
    "ENERGIA": "energia",
    "POTENCIA": "energia",
    "AGUA": "agua",
    "GAS": "gas",
    "TEMPERATURA": "temperatura",
    "DEMANDA": "demanda",
}


@dataclass(slots=True)
class Context:
    """A Conta's dashboard at one moment: its people's filter, the devices in it and their gateways."""

    conta: Conta
    filter: Filter
    now: datetime
    sequences: fleet.Sequences
    all_devices: list[Dispositivo]
    gateways: list[Gateway]
    names: dict[int, str] = field(init=False)

    def __post_init__(self) -> None:
        """Name the devices, with their gateway where two have the same name."""
        times = Counter(str(d) for d in self.all_devices)
        self.names = {
            d.pk: f"{d} ({d.gateway.codigo})" if times[str(d)] > 1 else str(d) for d in self.all_devices
        }

    @property
    def devices(self) -> list[Dispositivo]:
        """The devices that the page is about: those selected, or all."""
        return self.filter.selected or self.all_devices

    @property
    def gateways_in_view(self) -> list[Gateway]:
        """The gateways of those devices; without a selection also those that have none."""
        if not self.filter.selected:
            return self.gateways
        ids = {d.gateway_id for d in self.filter.selected}
        return [g for g in self.gateways if g.pk in ids]

    def gateway_apart(self, device: Dispositivo) -> str:
        """The gateway's code, where the device's name does not hold it already."""
        return "" if self.names[device.pk] != str(device) else device.gateway.codigo

    @property
    def never_measured(self) -> bool:
        """Whether no reading ever came for this Conta."""
        return self.sequences.last_reading is None and all(d.last_seen is None for d in self.all_devices)


def quantity_word(codigo: str) -> str:
    """The word for a quantity."""
    return str(dict(Dispositivo.Grandeza.choices).get(codigo, codigo))


def colour(codigo: str) -> str:
    """The name of a quantity's colour and icon; the less common ones share a neutral one."""
    return COLOURS.get(codigo, "outra")


def month_title(codigo: str) -> str:
    """A card's title."""
    return _("%(grandeza)s no mês") % {"grandeza": quantity_word(codigo)}
