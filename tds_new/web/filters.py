"""What a dashboard's address asks for. Nonsense is ignored, and said."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tds_new import formats
from tds_new.models import Conta, Dispositivo
from tds_new.queries.window import MAIOR_PERIODO, Janela

PERIODOS = {"24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30)}
ROTULOS = {"24h": gettext_lazy("24 horas"), "7d": gettext_lazy("7 dias"), "30d": gettext_lazy("30 dias")}
PADRAO = "24h"
MAX_SERIES = 8


@dataclass(slots=True)
class Filtro:
    """A dashboard's period and devices, as understood; ``avisos`` say what was not."""

    periodo: str
    janela: Janela
    selecionados: list[Dispositivo]
    de: date | None = None
    ate: date | None = None
    avisos: list[str] = field(default_factory=list)

    @property
    def titulo(self) -> str:
        """The period in words, both ends named."""
        inicio, fim, zone = self.janela.inicio, self.janela.fim, self.janela.zone
        if self.de and self.ate:
            return (
                formats.data(self.de)
                if self.de == self.ate
                else f"{formats.data(self.de)} – {formats.data(self.ate)}"
            )
        return f"{formats.data_hora(inicio, zone)} – {formats.data_hora(fim, zone)}"

    @property
    def ativos(self) -> int:
        """How many filters beside the usual periods are in use."""
        return bool(self.de) + bool(self.selecionados)


def periodos(filtro: Filtro) -> list[dict[str, Any]]:
    """The links to the usual periods; the devices selected stay."""
    disp = {"disp": ",".join(str(d.pk) for d in filtro.selecionados)} if filtro.selecionados else {}
    return [
        {
            "consulta": urlencode({"periodo": chave, **disp}, safe=","),
            "rotulo": rotulo,
            "atual": chave == filtro.periodo,
        }
        for chave, rotulo in ROTULOS.items()
    ]


def ler(parametros: QueryDict, conta: Conta, dispositivos: Sequence[Dispositivo], agora: datetime) -> Filtro:
    """The filter that ``parametros`` describe, over the Conta's own ``dispositivos``."""
    avisos: list[str] = []
    selecionados = _dispositivos(parametros, dispositivos, avisos)
    de, ate = _data(parametros.get("de", "")), _data(parametros.get("ate", ""))
    periodo = parametros.get("periodo") or (
        "datas" if parametros.get("de") or parametros.get("ate") else PADRAO
    )
    if periodo == "datas":
        problema = _problema_das_datas(de, ate, agora.astimezone(conta.zone).date())
        if problema is None and de and ate:
            return Filtro("datas", Janela.entre(de, ate, conta.zone), selecionados, de, ate, avisos)
        avisos.append(_("%(problema)s Mostramos as últimas 24 horas.") % {"problema": problema})
        periodo = PADRAO
    elif periodo not in PERIODOS:
        avisos.append(_("Não conhecemos esse período. Mostramos as últimas 24 horas."))
        periodo = PADRAO
    return Filtro(periodo, Janela.ultimos(PERIODOS[periodo], agora, conta.zone), selecionados, avisos=avisos)


def _data(texto: str) -> date | None:
    try:
        return date.fromisoformat(texto)
    except ValueError:
        return None


def _problema_das_datas(de: date | None, ate: date | None, hoje: date) -> str | None:
    if de is None or ate is None:
        return _("Informe as duas datas, no formato dd/mm/aaaa.")
    if ate < de:
        return _("A data final deve ser igual ou posterior a %(de)s.") % {"de": formats.data(de)}
    if de > hoje:
        return _("A data inicial deve ser hoje ou antes.")
    if de.year < 1970 or ate.year > hoje.year + 1:
        return _("As datas estão fora do que guardamos.")
    if ate - de >= MAIOR_PERIODO:
        return _("O período pode ter até 13 meses.")
    return None


def _dispositivos(
    parametros: QueryDict, dispositivos: Sequence[Dispositivo], avisos: list[str]
) -> list[Dispositivo]:
    """``disp=12&disp=15`` or ``disp=12,15``, in the Conta's order."""
    pedidos = {
        parte.strip() for valor in parametros.getlist("disp") for parte in valor.split(",") if parte.strip()
    }
    selecionados = [d for d in dispositivos if str(d.pk) in pedidos]
    if len(selecionados) < len(pedidos):
        avisos.append(_("Ignoramos no filtro dispositivos que esta conta não tem."))
    return selecionados
