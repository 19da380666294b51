"""Devices as lines of a chart: raw readings, blocks, hours, days or months, by the length of the window and the points asked for."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

from django.db import connection
from django.utils.timezone import now

from tds_new.models import Conta, Dispositivo
from tds_new.queries import brutas
from tds_new.queries.calendario import BLOCO, DIA, Periodo, inicio_do_bloco, meia_noite
from tds_new.queries.camadas import Grade, Pedaco, grades, pedacos
from tds_new.queries.janela import MES, Janela
from tds_new.queries.pontos import Ponto, Qualidade, Serie

MINUTO = timedelta(minutes=1)
# A point is marked as interpolated from this share of its blocks on; in a day a single one would mark nothing that can be seen.
MARCADO = 0.05

PARTE = """
SELECT dispositivo_id, {coluna} AS t, {somas} FROM {tabela}
WHERE conta_id = %(conta)s AND dispositivo_id = ANY(%(dispositivos)s) AND {coluna} >= %(de{n})s AND {coluna} < %(ate{n})s
"""
PONTOS = """
SELECT dispositivo_id, extract(epoch FROM {balde})::int8 AS balde, sum(consumo)::float8, sum(leituras)::int, sum(blocos)::int,
    sum(blocos_medidos)::float8,
    sum(blocos_interpolados)::int, sum(blocos_estimados)::int, min(minimo)::float8, max(maximo)::float8,
    (sum(soma) / nullif(sum(amostras), 0))::float8, sum(amostras)::int,
    ((array_agg(ultimo ORDER BY t DESC) FILTER (WHERE ultimo IS NOT NULL))[1])::float8
FROM ({partes}) p
GROUP BY 1, 2 ORDER BY 1, 2
"""
# A block is a point of its own.
PONTOS_DE_BLOCOS = """
SELECT dispositivo_id, extract(epoch FROM t)::int8, consumo::float8, leituras, blocos, blocos_medidos::float8,
    blocos_interpolados, blocos_estimados, minimo::float8, maximo::float8,
    (soma / nullif(amostras, 0))::float8, amostras, ultimo::float8
FROM ({partes}) p
ORDER BY 1, 2
"""
EM_PASSOS = "date_bin(%(passo)s, t, %(inicio)s)"
PELO_CALENDARIO = {DIA: "date_trunc('day', t, %(fuso)s)", MES: "date_trunc('month', t, %(fuso)s)"}


def series(conta: Conta, dispositivos: Sequence[Dispositivo], janela: Janela, agora: datetime | None = None) -> list[Serie]:
    """One series per device of ``dispositivos`` that belongs to ``conta``, in their order; at most two statements.

    Gauges in their unit; registers and increments as a mean rate per hour of their unit (kWh gives kW), out of blocks unless the window
    is so short that it is cut into minutes: within 15 minutes a register of few digits would only show its last one jump.
    """
    achadas = [Serie(d, janela.passo if _direto(d, janela) else max(janela.passo, BLOCO)) for d in dispositivos if d.conta_id == conta.pk]
    if cruas := [s for s in achadas if s.passo < BLOCO]:
        brutas.completar(conta, cruas, janela)
    if somadas := [s for s in achadas if s.passo >= BLOCO]:
        _completar(conta, somadas, janela, agora or now())
    return achadas


def _direto(dispositivo: Dispositivo, janela: Janela) -> bool:
    """Whether the device's readings are drawn one by one where the window's step is finer than a block."""
    return janela.passo <= MINUTO or dispositivo.tipo_leitura == Dispositivo.TipoLeitura.INSTANTANEA


def _completar(conta: Conta, series: Sequence[Serie], janela: Janela, agora: datetime) -> None:
    passo = series[0].passo
    linhas: dict[int, list[tuple[Any, ...]]] = {s.dispositivo.pk: [] for s in series}
    for pk, *linha in _ler(conta, list(linhas), janela, passo, agora):
        linhas[pk].append(tuple(linha))
    for serie in series:
        dispositivo, dela = serie.dispositivo, linhas[serie.dispositivo.pk]
        intervalo = float(dispositivo.gateway.intervalo_esperado_s)
        ritmo = _ritmo(dela, intervalo)
        serie.pontos = [_ponto(dispositivo.tipo_leitura, ritmo, *linha) for linha in dela]
        serie.lacuna = _lacuna(serie, intervalo)


def _ler(conta: Conta, dispositivos: list[int], janela: Janela, passo: timedelta, agora: datetime) -> list[tuple[Any, ...]]:
    periodo = Periodo(janela.inicio.astimezone(UTC), janela.fim.astimezone(UTC))
    partes = pedacos(periodo, _que_cabem(grades(agora), janela, passo), subtrair=False)
    parametros: dict[str, Any] = {
        "conta": conta.pk,
        "dispositivos": dispositivos,
        "passo": passo,
        "inicio": inicio_do_bloco(janela.inicio),
        "fuso": janela.zone.key,
    }
    for n, parte in enumerate(partes):
        parametros |= {f"de{n}": parte.inicio, f"ate{n}": parte.fim}
    juntas = "UNION ALL".join(_sql(n, parte) for n, parte in enumerate(partes))
    balde = PELO_CALENDARIO.get(passo, EM_PASSOS)
    sql = PONTOS_DE_BLOCOS.format(partes=juntas) if passo == BLOCO else PONTOS.format(balde=balde, partes=juntas)
    with connection.cursor() as cursor:
        cursor.execute(sql, parametros)
        linhas: list[tuple[Any, ...]] = cursor.fetchall()
    return linhas


def _sql(n: int, parte: Pedaco) -> str:
    return PARTE.format(n=n, tabela=parte.camada.tabela, coluna=parte.camada.coluna, somas=parte.camada.somas)


def _que_cabem(todas: Sequence[Grade], janela: Janela, passo: timedelta) -> list[Grade]:
    """The sums whose buckets lie each within one bucket of the chart: not the platform's days where the Conta's begin at another hour."""
    if passo not in PELO_CALENDARIO:
        return [grade for grade in todas if grade.camada.largura <= passo and grade.antes(janela.inicio) == janela.inicio]
    primeiro, ultimo = janela.inicio.astimezone(janela.zone).date(), janela.ultimo_dia()
    dias = [primeiro + n * DIA for n in range((ultimo - primeiro).days + 2)]
    bordas = [meia_noite(dia, janela.zone) for dia in dias if passo == DIA or dia.day == 1]
    return [grade for grade in todas if all(grade.antes(borda) == borda for borda in bordas)]


def _ponto(
    tipo_leitura: str,
    ritmo: float,
    epoca: int,
    consumo: float | None,
    leituras: int,
    blocos: int,
    medidos: float,
    interpolados: int,
    estimados: int,
    minimo: float | None,
    maximo: float | None,
    media: float | None,
    amostras: int | None,
    ultimo: float | None,
) -> Ponto:
    inicio = datetime.fromtimestamp(epoca, UTC)
    if tipo_leitura == Dispositivo.TipoLeitura.INSTANTANEA:
        return Ponto(inicio, media, minimo, maximo, amostras or 0, ultimo=ultimo)
    qualidade = Qualidade.ESTIMADO if estimados else Qualidade.INTERPOLADO if interpolados > MARCADO * blocos else Qualidade.MEDIDO
    segundos = blocos * BLOCO.total_seconds()
    if qualidade is Qualidade.MEDIDO and tipo_leitura == Dispositivo.TipoLeitura.INCREMENTAL:
        segundos = min(segundos, leituras * ritmo)
    elif qualidade is Qualidade.MEDIDO:
        segundos = round(medidos * BLOCO.total_seconds())  # shares are cut to 0.0001, which is less than a second
    taxa = consumo * 3600 / segundos if consumo is not None and segundos else None
    return Ponto(inicio, taxa, None, None, leituras, qualidade)


def _ritmo(linhas: Sequence[tuple[Any, ...]], intervalo: float) -> float:
    """The seconds that an increment stands for: as in the buckets measured in full, else the interval expected."""
    cheios = [(blocos, leituras) for _, _, leituras, blocos, medidos, *_ in linhas if leituras and medidos == blocos]
    return sum(blocos for blocos, _ in cheios) * BLOCO.total_seconds() / sum(n for _, n in cheios) if cheios else intervalo


def _lacuna(serie: Serie, intervalo: float) -> float:
    """Three intervals or two steps; for a device that sends more seldom than expected, three of its own."""
    momentos = [p.inicio.timestamp() for p in serie.pontos if p.media is not None]
    proprio = median(depois - antes for antes, depois in pairwise(momentos)) if len(momentos) > 1 else 0.0
    return max(3 * max(intervalo, proprio), 2 * serie.passo.total_seconds())
