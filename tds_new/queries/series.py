"""Devices as lines of a chart: raw readings, blocks, hours, days or months, by the length of the window and the points asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

from django.db import connection
from django.utils.timezone import now

from tds_new.models import ConsumoCongelado, Conta, Dispositivo
from tds_new.queries import raw_points
from tds_new.queries.layers import BLOCOS, DIAS, HORA, HORAS, MESES, PARTES, Grade, Pedaco, grades, pedacos
from tds_new.queries.local_calendar import BLOCO, DIA, Periodo, inicio_do_bloco, meia_noite, somar_meses
from tds_new.queries.points import Ponto, Qualidade, Serie
from tds_new.queries.window import MES, Janela

MINUTO = timedelta(minutes=1)
BLOCO_S = BLOCO.total_seconds()
CORTE_S = 0.0001 * BLOCO_S
MEDIDO, INTERPOLADO, ESTIMADO = Qualidade
# A point is marked as interpolated from this share of its blocks on; in a day a single one would mark nothing that can be seen.
MARCADO = 0.05

PARTE = """
SELECT dispositivo_id, {coluna} AS t, {somas} FROM {fonte}
WHERE conta_id = %(conta)s AND dispositivo_id = ANY(%(dispositivos)s) AND {trecho}
"""
# What is finer than the chart's step, as one bucket.
AGRUPADAS = """
SELECT dispositivo_id, {balde} AS t, sum(consumo) AS consumo, sum(leituras) AS leituras, sum(blocos) AS blocos,
    sum(blocos_medidos) AS blocos_medidos, sum(blocos_interpolados) AS blocos_interpolados, sum(blocos_estimados) AS blocos_estimados,
    max(pico) AS pico, min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    ((max(ARRAY[extract(epoch FROM t), ultimo]) FILTER (WHERE ultimo IS NOT NULL))[2]) AS ultimo
FROM ({partes}) p
GROUP BY 1, 2
"""
# A row a device: thousands of points are read several times as fast as columns. (date_part, because extract works out a numeric.)
COLUNAS = """
SELECT dispositivo_id, array_agg(date_part('epoch', t)::int8), array_agg(consumo::float8), array_agg(leituras::int), array_agg(blocos::int),
    array_agg(blocos_medidos::float8), array_agg(blocos_interpolados::int), array_agg(blocos_estimados::int), array_agg(minimo::float8),
    array_agg(maximo::float8), array_agg(soma::float8 / nullif(amostras, 0)), array_agg(amostras::int), array_agg(ultimo::float8)
FROM (SELECT * FROM ({partes}) u ORDER BY dispositivo_id, t) p
GROUP BY 1
"""
EM_PASSOS = "date_bin(%(passo)s, t, %(inicio)s)"
DO_CALENDARIO = (DIA, MES)
# The table whose buckets are the chart's own.
IGUAIS = {BLOCO: BLOCOS.coluna, HORA: HORAS.coluna, DIA: DIAS.coluna}
# Local midnights or months, whose moments are known: working out each row's own takes ten times as long.
POR_CALENDARIO = "(%(bordas)s::timestamptz[])[width_bucket(t, %(bordas)s::timestamptz[])]"


def series(
    conta: Conta, dispositivos: Sequence[Dispositivo], janela: Janela, agora: datetime | None = None
) -> list[Serie]:
    """One series per device of ``dispositivos`` that belongs to ``conta``, in their order; at most three statements.

    Gauges in their unit; registers and increments as a mean rate per hour of their unit (kWh gives kW), out of blocks unless the window
    is so short that it is cut into minutes: within 15 minutes a register of few digits would only show its last one jump.
    """
    guardadas = janela.passo < BLOCO and _ha_leituras(janela)
    achadas = [
        Serie(d, janela.passo if guardadas and _direto(d, janela) else max(janela.passo, BLOCO))
        for d in dispositivos
        if d.conta_id == conta.pk
    ]
    if cruas := [s for s in achadas if s.passo < BLOCO]:
        raw_points.completar(conta, cruas, janela)
    if somadas := [s for s in achadas if s.passo >= BLOCO]:
        _completar(conta, somadas, janela, agora or now())
    return achadas


def _ha_leituras(janela: Janela) -> bool:
    """Whether the window's readings are all kept: retention leaves blocks alone."""
    congelado = ConsumoCongelado.objects.first()
    return congelado is None or janela.inicio >= congelado.ate


def _direto(dispositivo: Dispositivo, janela: Janela) -> bool:
    """Whether the device's readings are drawn one by one where the window's step is finer than a block."""
    return janela.passo <= MINUTO or dispositivo.tipo_leitura == Dispositivo.TipoLeitura.INSTANTANEA


@dataclass(frozen=True, slots=True)
class Colunas:
    """A device's buckets by time: seconds since 1970, sums and gauges, each a list of the same length."""

    t: list[int] = field(default_factory=list)
    consumo: list[float | None] = field(default_factory=list)
    leituras: list[int] = field(default_factory=list)
    blocos: list[int] = field(default_factory=list)
    medidos: list[float] = field(default_factory=list)
    interpolados: list[int] = field(default_factory=list)
    estimados: list[int] = field(default_factory=list)
    minimo: list[float | None] = field(default_factory=list)
    maximo: list[float | None] = field(default_factory=list)
    media: list[float | None] = field(default_factory=list)
    amostras: list[int | None] = field(default_factory=list)
    ultimo: list[float | None] = field(default_factory=list)


def _completar(conta: Conta, series: Sequence[Serie], janela: Janela, agora: datetime) -> None:
    passo = series[0].passo
    dispositivos = [s.dispositivo.pk for s in series]
    todas = grades(agora, (MESES, DIAS, PARTES, HORAS))
    partes = pedacos(
        Periodo(janela.inicio.astimezone(UTC), janela.fim.astimezone(UTC)),
        _que_cabem(todas, janela, passo),
        subtrair=False,
    )
    lidas = _ler(conta, dispositivos, janela, passo, partes, iguais=IGUAIS.get(passo))
    if any(len(set(colunas.t)) < len(colunas.t) for colunas in lidas.values()):
        lidas = _ler(
            conta, dispositivos, janela, passo, partes, iguais=None
        )  # a device that changed gateways has two rows in a bucket
    for serie in series:
        colunas = lidas.get(serie.dispositivo.pk, Colunas())
        intervalo = float(serie.dispositivo.gateway.intervalo_esperado_s)
        serie.pontos = _pontos(serie.dispositivo.tipo_leitura, colunas, intervalo, passo)
        serie.lacuna = _lacuna(colunas.t, serie.pontos, intervalo, passo)


def _ler(
    conta: Conta,
    dispositivos: list[int],
    janela: Janela,
    passo: timedelta,
    partes: Sequence[Pedaco],
    iguais: str | None,
) -> dict[int, Colunas]:
    """By device; rows of the table whose time column is ``iguais`` are points as they are, others are grouped."""
    parametros: dict[str, Any] = {
        "conta": conta.pk,
        "dispositivos": dispositivos,
        "passo": passo,
        "inicio": inicio_do_bloco(janela.inicio),
        "bordas": _bordas(janela, passo) if passo in DO_CALENDARIO else [],
    }
    prontas: list[str] = []
    finas: list[str] = []
    for n, parte in enumerate(partes):
        parametros |= {f"de{n}": parte.inicio, f"ate{n}": parte.fim}
        camada = parte.camada
        sql = PARTE.format(
            fonte=camada.fonte,
            coluna=camada.coluna,
            somas=camada.somas,
            trecho=camada.trecho(f"de{n}", f"ate{n}"),
        )
        (prontas if camada.coluna == iguais else finas).append(sql)
    if finas:
        prontas.append(
            AGRUPADAS.format(
                balde=POR_CALENDARIO if passo in DO_CALENDARIO else EM_PASSOS, partes="UNION ALL".join(finas)
            )
        )
    with connection.cursor() as cursor:
        cursor.execute(COLUNAS.format(partes="UNION ALL".join(prontas)), parametros)
        return {pk: Colunas(*colunas) for pk, *colunas in cursor.fetchall()}


def _que_cabem(todas: Sequence[Grade], janela: Janela, passo: timedelta) -> list[Grade]:
    """The sums whose buckets lie each within one bucket of the chart: not the platform's days where the Conta's begin at another hour."""
    if passo not in DO_CALENDARIO:
        return [
            grade
            for grade in todas
            if grade.camada.largura <= passo and grade.antes(janela.inicio) == janela.inicio
        ]
    bordas = _bordas(janela, passo)[1:]
    return [grade for grade in todas if all(grade.antes(borda) == borda for borda in bordas)]


def _bordas(janela: Janela, passo: timedelta) -> list[datetime]:
    """Where the local days or months begin that the window touches, and the one after it."""
    primeiro, ultimo = janela.inicio.astimezone(janela.zone).date(), janela.ultimo_dia()
    dias = [primeiro + n * DIA for n in range((ultimo - primeiro).days + 2)]
    dias = (
        dias if passo == DIA else sorted({somar_meses(dia, 0) for dia in [*dias, somar_meses(dias[-1], 1)]})
    )
    return [meia_noite(dia, janela.zone) for dia in dias]


def _segundos(medidos: float) -> float:
    """Measured blocks in seconds. Shares are cut to 0.0001, which is 0.09 s: meters' times are whole seconds mostly, else the middle."""
    cortado = medidos * BLOCO_S
    inteiro = round(cortado + CORTE_S / 2)
    return inteiro if -0.001 <= inteiro - cortado <= CORTE_S else cortado + CORTE_S / 2


def _pontos(tipo_leitura: str, c: Colunas, intervalo: float, passo: timedelta) -> list[Ponto]:
    inicios = [datetime.fromtimestamp(t, UTC) for t in c.t]
    if tipo_leitura == Dispositivo.TipoLeitura.INSTANTANEA:
        gauges = zip(inicios, c.media, c.minimo, c.maximo, c.amostras, c.ultimo, strict=True)
        return [
            Ponto(inicio, media, minimo, maximo, n or 0, MEDIDO, ultimo)
            for inicio, media, minimo, maximo, n, ultimo in gauges
        ]
    qualidades = [
        ESTIMADO if estimados else INTERPOLADO if interpolados > MARCADO * blocos else MEDIDO
        for estimados, interpolados, blocos in zip(c.estimados, c.interpolados, c.blocos, strict=True)
    ]
    incremental = tipo_leitura == Dispositivo.TipoLeitura.INCREMENTAL
    cheios = [m * BLOCO_S if m == b else _segundos(m) for m, b in zip(c.medidos, c.blocos, strict=True)]
    medidos = _cobertos(c, intervalo, passo) if incremental else cheios
    sobre = zip(inicios, c.consumo, c.leituras, c.blocos, medidos, qualidades, strict=True)
    return [
        Ponto(
            inicio,
            _taxa(consumo, segundos if qualidade is MEDIDO else blocos * BLOCO_S),
            None,
            None,
            leituras,
            qualidade,
        )
        for inicio, consumo, leituras, blocos, segundos, qualidade in sobre
    ]


def _taxa(consumo: float | None, segundos: float) -> float | None:
    """Per hour, over the time that was measured; all of it where part of the consumption was spread over what was not."""
    return consumo * 3600 / segundos if consumo is not None and segundos else None


def _cobertos(c: Colunas, intervalo: float, passo: timedelta) -> list[float]:
    """The seconds that the increments in each bucket stand for.

    All of its blocks, but where it begins or ends a run and is not measured in full: then as long as so many increments take in the
    bucket beside it, else as expected. An increment of a device that sends more seldom than every block stands for its interval.
    """
    if intervalo > BLOCO_S:
        return [leituras * intervalo for leituras in c.leituras]
    inteiros = [blocos * BLOCO_S for blocos in c.blocos]
    perto = passo.total_seconds() + (3600 if passo >= DIA else 0)
    segundos = []
    for n, inteiro in enumerate(inteiros):
        vizinhos = [
            v
            for v in (n - 1, n + 1)
            if 0 <= v < len(inteiros) and abs(c.t[v] - c.t[n]) <= perto and c.leituras[v]
        ]
        if len(vizinhos) == 2 or c.medidos[n] >= c.blocos[n]:
            segundos.append(inteiro)
        else:
            ritmo = inteiros[vizinhos[0]] / c.leituras[vizinhos[0]] if vizinhos else intervalo
            segundos.append(min(inteiro, c.leituras[n] * ritmo))
    return segundos


def _lacuna(momentos: Sequence[int], pontos: Sequence[Ponto], intervalo: float, passo: timedelta) -> float:
    """Three intervals or two steps; for a device that sends more seldom than expected, three of its own."""
    com_valor = [t for t, ponto in zip(momentos, pontos, strict=True) if ponto.media is not None]
    proprio = median(depois - antes for antes, depois in pairwise(com_valor)) if len(com_valor) > 1 else 0.0
    return max(3 * max(intervalo, proprio), 2 * passo.total_seconds())
