"""The sums over blocks that are kept, and how any stretch of time is put together from the coarsest of them.

Blocks add up exactly, so a month of a zone that is an hour away from the platform's is the platform's month, less the hour before it
begins and with the hour after that month ends: three reads of sums instead of 2,976 blocks.

Read is what TimescaleDB keeps and its policies follow up, and finer sums or blocks from there on. The views over both would say the same,
but they work out the local day of every block that is not kept yet before they leave out those that nobody asked for (250 ms instead of
1 ms for a year's months of 1,000 devices). On plain PostgreSQL nothing is kept; there the blocks are read, bound by time.
"""

import time as clock
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection

from tds_new.queries.local_calendar import BLOCO, DIA, Periodo, meia_noite, mes_local, somar_meses
from tds_new.storage import rollups

EPOCA = datetime(1970, 1, 1, tzinfo=UTC)
HORA = timedelta(hours=1)
# A boundary so near to one of the platform's days or months is reached from there: no zone is further away.
PERTO = timedelta(hours=26)
RECONSIDERAR_S = 300
Fronteira = Callable[[datetime], datetime]

# The zone of days and months is that of the tables, whatever the settings have become since.
MANTIDAS = """
SELECT a.user_view_name::text, format('%%I.%%I', h.schema_name, h.table_name), w.watermark,
    (SELECT bucket_timezone FROM _timescaledb_catalog.continuous_aggs_bucket_function f WHERE f.mat_hypertable_id = a.mat_hypertable_id)
FROM _timescaledb_catalog.continuous_agg a
JOIN _timescaledb_catalog.hypertable h ON h.id = a.mat_hypertable_id
JOIN _timescaledb_catalog.continuous_aggs_watermark w ON w.mat_hypertable_id = h.id
WHERE a.user_view_name = ANY(%(vistas)s::name[]) AND w.watermark > 0
"""
SOMAS = "consumo, leituras, blocos, blocos_medidos, blocos_interpolados, blocos_estimados, pico, minimo, maximo, soma, amostras, ultimo"
# A block in the columns of the sums.
DE_UM_BLOCO = """consumo, leituras, 1 AS blocos, fracao_medida AS blocos_medidos,
    (qualidade = 'INTERPOLADO')::int AS blocos_interpolados, (qualidade = 'ESTIMADO')::int AS blocos_estimados,
    CASE WHEN fracao_medida = 1 AND qualidade = 'MEDIDO' THEN consumo END AS pico, minimo, maximo, soma, amostras, ultimo"""


@dataclass(frozen=True, slots=True)
class Camada:
    """A table of sums: its time column, its columns under the names of ``SOMAS``, and how long its buckets are (SQL; at most).

    ``aberta``: what is younger is not relied upon. ``da_conta``: the sums are a Conta's, by quantity and unit, not its devices'.
    ``calculada``: what the time column is computed of, ``indice``: a condition on what is indexed then.
    """

    tabela: str
    coluna: str
    somas: str
    duracao: str
    largura: timedelta
    aberta: timedelta = DIA
    da_conta: bool = False
    calculada: str = ""
    indice: str = ""

    @property
    def fonte(self) -> str:
        """What to select from."""
        return (
            f"(SELECT *, {self.calculada} AS {self.coluna} FROM {self.tabela}) fonte"
            if self.calculada
            else self.tabela
        )

    def trecho(self, de: str, ate: str) -> str:
        """The condition that a bucket begins in ``[de, ate)``, names of parameters."""
        dentro = f"{self.coluna} >= %({de})s AND {self.coluna} < %({ate})s"
        return (
            f"{dentro} AND {self.indice.format(de=f'%({de})s', ate=f'%({ate})s')}" if self.indice else dentro
        )


BLOCOS = Camada("tds_new_consumo_15min", "bloco", DE_UM_BLOCO, "15 minutes", BLOCO)
HORAS = Camada("tds_new_consumo_horario", "hora", SOMAS, "1 hour", HORA, aberta=rollups.HOURLY.end)
DIAS = Camada("tds_new_consumo_diario", "dia", SOMAS, "1 day", DIA + HORA)
MESES = Camada(
    "tds_new_consumo_mensal",
    "mes_referencia",
    SOMAS.replace("consumo,", "total_consumo AS consumo,", 1).replace(
        "leituras,", "leituras_count AS leituras,", 1
    ),
    "1 month",
    31 * DIA + HORA,
)
# Four rows a day, from 2, 3, 4 and 5 o'clock UTC on: the days of every zone of Brazil are made of them.
PARTES = Camada(
    "tds_new_consumo_parte_do_dia",
    "inicio",
    SOMAS,
    "21 hours",
    21 * HORA,
    calculada="dia + mod(hora_utc + 19, 24) * interval '1 hour'",
    indice="dia > {de} - interval '1 day' AND dia < {ate}",
)
DA_CONTA = "consumo, blocos, blocos_medidos, blocos_interpolados, blocos_estimados, pico"
HORAS_DA_CONTA = Camada(
    "tds_new_consumo_conta_horario",
    "hora",
    DA_CONTA,
    "1 hour",
    HORA,
    aberta=rollups.CONTA_HOURLY.end,
    da_conta=True,
)
DIAS_DA_CONTA = Camada("tds_new_consumo_conta_diario", "dia", DA_CONTA, "1 day", DIA + HORA, da_conta=True)
# The coarsest first.
DE_DISPOSITIVOS = (MESES, DIAS, HORAS)
DE_CONTAS = (DIAS_DA_CONTA, HORAS_DA_CONTA)


@dataclass(frozen=True, slots=True)
class Pedaco:
    """Whole buckets of a table from ``inicio`` to ``fim``, to be added or (``sinal`` -1) taken away."""

    camada: Camada
    inicio: datetime
    fim: datetime
    sinal: int = 1


@dataclass(frozen=True, slots=True)
class Grade:
    """A table and where its buckets begin: the last boundary up to a moment, the next one after it, and the last that is complete.

    A boundary not further than ``perto`` from a moment may be used in its stead, with the difference added or taken away.
    """

    camada: Camada
    antes: Fronteira
    depois: Fronteira
    limite: datetime
    perto: timedelta

    def inicio(self, instante: datetime, *, subtrair: bool) -> datetime:
        """The boundary at which to begin for a stretch that begins at ``instante``."""
        antes = self.antes(instante)
        return antes if antes == instante else (subtrair and self._vizinho(instante)) or self.depois(instante)

    def fim(self, instante: datetime, *, subtrair: bool) -> datetime:
        """The boundary at which to end for a stretch that ends at ``instante``."""
        vizinho = self._vizinho(instante) if subtrair else None
        return min(vizinho, self.limite) if vizinho else min(self.antes(instante), self.limite)

    def _vizinho(self, instante: datetime) -> datetime | None:
        antes, depois = self.antes(instante), self.depois(instante)
        melhor = antes if instante - antes <= depois - instante else depois
        return melhor if abs(melhor - instante) <= self.perto else None


def _hora_antes(instante: datetime) -> datetime:
    return instante.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _hora_depois(instante: datetime) -> datetime:
    return _hora_antes(instante) + HORA


def _dos_dias(zone: ZoneInfo) -> tuple[Fronteira, Fronteira]:
    """The last boundary up to a moment and the next one after it, of days in ``zone``."""

    def dia(instante: datetime) -> date:
        return instante.astimezone(zone).date()

    return lambda t: meia_noite(dia(t), zone), lambda t: meia_noite(dia(t) + DIA, zone)


def _dos_meses(zone: ZoneInfo) -> tuple[Fronteira, Fronteira]:
    """The same of months."""

    def mes(instante: datetime) -> date:
        return mes_local(instante, zone)

    return lambda t: meia_noite(mes(t), zone), lambda t: meia_noite(somar_meses(mes(t), 1), zone)


def _parte_antes(instante: datetime) -> datetime:
    hora = _hora_antes(instante)
    return hora - HORA * max(0, (hora.hour - 5) % 24) if hora.hour not in (2, 3, 4) else hora


def _parte_depois(instante: datetime) -> datetime:
    antes = _parte_antes(instante)
    return antes + (21 * HORA if antes.hour == 5 else HORA)


def grades(agora: datetime, camadas: Sequence[Camada] = DE_DISPOSITIVOS) -> list[Grade]:
    """Those of ``camadas`` that are kept, in their order; none on plain PostgreSQL.

    What their refresh policies do not reach yet is left to finer ones, even where somebody had it kept by hand: it is still changing.
    """
    agora = agora.astimezone(UTC)
    mantidas = _mantidas()
    achadas = []
    for camada in camadas:
        if camada.tabela in mantidas:
            tabela, ate, zona = mantidas[camada.tabela]
            antes, depois, perto = _fronteiras(camada, ZoneInfo(zona or settings.TDS_TIME_ZONE))
            achadas.append(
                Grade(
                    replace(camada, tabela=tabela),
                    antes,
                    depois,
                    min(antes(agora - camada.aberta), antes(ate)),
                    perto,
                )
            )
    return achadas


def _fronteiras(camada: Camada, zone: ZoneInfo) -> tuple[Fronteira, Fronteira, timedelta]:
    if camada is MESES:
        return *_dos_meses(zone), PERTO
    if camada in (DIAS, DIAS_DA_CONTA):
        return *_dos_dias(zone), PERTO
    if camada is PARTES:
        return _parte_antes, _parte_depois, timedelta(0)
    return _hora_antes, _hora_depois, HORA


def pedacos(
    periodo: Periodo, grades: Sequence[Grade], *, subtrair: bool = True, sinal: int = 1
) -> list[Pedaco]:
    """``periodo`` out of the coarsest buckets of ``grades`` (:func:`grades`), the blocks for what no bucket fits.

    Without ``subtrair`` out of parts of it only, which is what a greatest value can be taken of.
    """
    if periodo.inicio >= periodo.fim:
        return []
    if not grades:
        return [Pedaco(BLOCOS, periodo.inicio, periodo.fim, sinal)]
    grade, *finas = grades
    inicio, fim = grade.inicio(periodo.inicio, subtrair=subtrair), grade.fim(periodo.fim, subtrair=subtrair)
    if inicio >= fim:
        return pedacos(periodo, finas, subtrair=subtrair, sinal=sinal)
    achados = [Pedaco(grade.camada, inicio, fim, sinal)]
    for de, ate in ((periodo.inicio, inicio), (fim, periodo.fim)):
        falta, sobra = Periodo(de, ate), Periodo(ate, de)
        achados += pedacos(falta, finas, subtrair=subtrair, sinal=sinal) + pedacos(
            sobra, finas, subtrair=subtrair, sinal=-sinal
        )
    return achados


def _mantidas() -> dict[str, tuple[str, datetime, str | None]]:
    """For each view of sums that TimescaleDB keeps: the table that it keeps them in, until when, and the zone of its buckets."""
    if not _tem_catalogo(int(clock.monotonic() // RECONSIDERAR_S), connection.settings_dict["NAME"]):
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            MANTIDAS, {"vistas": [camada.tabela for camada in (*DE_DISPOSITIVOS, PARTES, *DE_CONTAS)]}
        )
        return {
            vista: (tabela, EPOCA + timedelta(microseconds=ate), zona)
            for vista, tabela, ate, zona in cursor.fetchall()
        }


@lru_cache(maxsize=4)
def _tem_catalogo(_quando: int, _banco: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('_timescaledb_catalog.continuous_aggs_watermark') IS NOT NULL")
        linha = cursor.fetchone()
    return bool(linha and linha[0])
