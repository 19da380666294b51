"""The whole dashboard as one dictionary: what the page is rendered from, and what its polls fetch."""

import logging
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import Any, TypeVar

from django.db import DatabaseError
from django.http import QueryDict
from django.utils.translation import gettext as _

from tds_new.models import Conta
from tds_new.queries import fleet
from tds_new.queries.consumption import (
    ConsumoNoPeriodo,
    ConsumoPorMes,
    consumo_do_mes,
    consumo_por_mes,
    meses_fechados,
)
from tds_new.queries.local_calendar import mes_local
from tds_new.web import filters
from tds_new.web.dashboard.cache import lembrar
from tds_new.web.dashboard.cards import cartoes
from tds_new.web.dashboard.charts import Grafico, barras, janela, linhas
from tds_new.web.dashboard.consumption import demanda_do_mes
from tds_new.web.dashboard.context import Contexto
from tds_new.web.dashboard.tables import leituras, offline
from tds_new.web.etag import VERSAO

logger = logging.getLogger(__name__)
T = TypeVar("T")


def preparar(conta: Conta, parametros: QueryDict, sequencias: fleet.Sequencias, agora: datetime) -> Contexto:
    """Look up the Conta's fleet and read the filter against it."""
    gateways = fleet.gateways_ativos(conta)
    todos = fleet.dispositivos_ativos(conta, gateways)
    filtro = filters.ler(parametros, conta, todos, agora)
    return Contexto(conta, filtro, agora, sequencias, todos, gateways)


def montar(contexto: Contexto, tem: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Every block; of the series only the parts that the browser does not have (``tem``).

    A block that fails says so in ``falhas`` and leaves the others whole.
    """
    falhas: dict[str, str] = {}
    sem_consumos: tuple[list[ConsumoNoPeriodo] | None, list[ConsumoPorMes]] = None, []
    deste_mes, por_mes = _bloco(falhas, "barras", lambda: _consumos(contexto), sem_consumos)
    maior = (
        None if contexto.nunca_mediu else _bloco(falhas, "demanda", lambda: demanda_do_mes(contexto), None)
    )
    graficos: list[Grafico] = (
        [] if contexto.nunca_mediu else _bloco(falhas, "graficos", lambda: linhas(contexto, tem), [])
    )
    vazio: dict[str, Any] = {"vazio": "", "linhas": []}
    return {
        "v": VERSAO,
        "seq": contexto.sequencias.ingestao,
        "titulo": contexto.filtro.titulo,
        "janela": janela(contexto.filtro.janela),
        "cartoes": cartoes(contexto, deste_mes, maior),
        "graficos": graficos,
        "barras": barras(contexto, por_mes),
        "leituras": _bloco(falhas, "leituras", lambda: leituras(contexto), vazio),
        "offline": offline(contexto),
        "falhas": falhas,
    }


def _consumos(contexto: Contexto) -> tuple[list[ConsumoNoPeriodo] | None, list[ConsumoPorMes]]:
    conta, agora = contexto.conta, contexto.agora
    dispositivos = contexto.filtro.selecionados or None
    quais = ",".join(str(d.pk) for d in dispositivos or [])
    chave = f"{conta.pk}:{conta.timezone}:{mes_local(agora, conta.zone)}:{quais}"
    fechados = lembrar(
        f"meses:{sha256(chave.encode()).hexdigest()}", lambda: meses_fechados(conta, dispositivos, agora)
    )
    deste_mes = consumo_do_mes(conta, dispositivos, agora)
    return deste_mes, consumo_por_mes(conta, dispositivos, agora, deste_mes, fechados)


def _bloco(falhas: dict[str, str], nome: str, calcular: Callable[[], T], sem_dados: T) -> T:
    try:
        return calcular()
    except DatabaseError:
        logger.exception("dashboard block %s failed", nome)
        falhas[nome] = _("Não foi possível carregar este bloco. Os outros dados estão corretos.")
        return sem_dados
