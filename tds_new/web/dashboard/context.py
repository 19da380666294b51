"""What every block of one dashboard is made from."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from django.utils.translation import gettext as _

from tds_new.models import Conta, Dispositivo, Gateway
from tds_new.queries import fleet
from tds_new.web.filters import Filtro

CORES = {
    "ENERGIA": "energia",
    "POTENCIA": "energia",
    "AGUA": "agua",
    "GAS": "gas",
    "TEMPERATURA": "temperatura",
    "DEMANDA": "demanda",
}


@dataclass(slots=True)
class Contexto:
    """A Conta's dashboard at one moment: its people's filter, the devices in it and their gateways."""

    conta: Conta
    filtro: Filtro
    agora: datetime
    sequencias: fleet.Sequencias
    todos: list[Dispositivo]
    gateways: list[Gateway]
    nomes: dict[int, str] = field(init=False)

    def __post_init__(self) -> None:
        """Name the devices, with their gateway where two have the same name."""
        vezes = Counter(str(d) for d in self.todos)
        self.nomes = {d.pk: f"{d} ({d.gateway.codigo})" if vezes[str(d)] > 1 else str(d) for d in self.todos}

    @property
    def dispositivos(self) -> list[Dispositivo]:
        """The devices that the page is about: those selected, or all."""
        return self.filtro.selecionados or self.todos

    @property
    def gateways_em_vista(self) -> list[Gateway]:
        """The gateways of those devices; without a selection also those that have none."""
        if not self.filtro.selecionados:
            return self.gateways
        ids = {d.gateway_id for d in self.filtro.selecionados}
        return [g for g in self.gateways if g.pk in ids]

    def gateway_a_parte(self, dispositivo: Dispositivo) -> str:
        """The gateway's code, where the device's name does not hold it already."""
        return "" if self.nomes[dispositivo.pk] != str(dispositivo) else dispositivo.gateway.codigo

    @property
    def nunca_mediu(self) -> bool:
        """Whether no reading ever came for this Conta."""
        return self.sequencias.ultima_leitura is None and all(d.last_seen is None for d in self.todos)


def grandeza(codigo: str) -> str:
    """The word for a quantity."""
    return str(dict(Dispositivo.Grandeza.choices).get(codigo, codigo))


def cor(codigo: str) -> str:
    """The name of a quantity's colour and icon; the less common ones share a neutral one."""
    return CORES.get(codigo, "outra")


def consumo_no_mes(codigo: str) -> str:
    """A card's title."""
    return _("%(grandeza)s no mês") % {"grandeza": grandeza(codigo)}
