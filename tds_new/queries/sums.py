"""Consumption of a Conta in any stretches of time, by quantity and unit, with how much of it was measured; one statement."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection

from tds_new.models import Conta, Dispositivo
from tds_new.queries import layers
from tds_new.queries.layers import Camada, Pedaco, grades, pedacos
from tds_new.queries.local_calendar import Periodo

DESLOCAMENTO = 10_000  # between the numbers of one table's pieces and the next one's

# The sums of one table, a row for each piece (the stretch between two neighbouring ``cortes``), quantity and unit.
PARTE = """
SELECT true, %(deslocamento{n})s + width_bucket({coluna}, %(cortes{n})s::timestamptz[]), grandeza, unidade,
    sum(consumo), sum(blocos), sum(blocos_medidos), sum(blocos_interpolados), sum(blocos_estimados), NULL::timestamptz
FROM {fonte}
WHERE consumo IS NOT NULL
GROUP BY 2, 3, 4
"""
DA_CONTA = (
    "(SELECT {coluna}, grandeza, unidade, {somas} FROM {fonte} WHERE conta_id = %(conta)s AND {trechos}) s"
)
DE_DISPOSITIVOS = """(
    SELECT dispositivo_id, {coluna}, {somas} FROM {fonte} WHERE conta_id = %(conta)s{filtro} AND {trechos}
) s JOIN tds_new_dispositivo d ON d.id = s.dispositivo_id"""
# A device is expected to measure from its first data on, or from its registration where that is before, in the same period; until now,
# silent or not; one that has left or was switched off until its last data. Most devices' lives are alike, so they are counted.
ESPERADOS = """
SELECT false, p.n, grandeza, unidade,
    round(sum(quantos * date_part('epoch', greatest('0', least(p.fim, vida.fim) - greatest(p.inicio, vida.inicio))))::numeric / 900, 4),
    NULL, NULL, NULL, NULL, CASE WHEN max(ultima) IS NOT NULL THEN least(max(ultima), max(calculado)) END
FROM (
    SELECT grandeza, unidade, inicio, fim, count(*) AS quantos, max(ultima) AS ultima, max(calculado) AS calculado
    FROM (
        SELECT d.grandeza, d.unidade, v.ultimo + interval '15 minutes' - interval '1 microsecond' AS calculado,
            least(v.primeiro, greatest(d.created_at,
                (SELECT max(i) FROM unnest(%(inicios)s::timestamptz[]) i WHERE i <= v.primeiro))) AS inicio,
            CASE WHEN d.conta_id = v.conta_id AND d.status <> 'INATIVO' AND g.is_active THEN 'infinity'
                ELSE v.ultimo + interval '15 minutes' END AS fim,
            CASE WHEN d.conta_id = v.conta_id THEN d.last_seen END AS ultima
        FROM tds_new_consumo_vida v
        JOIN tds_new_dispositivo d ON d.id = v.dispositivo_id JOIN tds_new_gateway g ON g.id = d.gateway_id
        WHERE v.conta_id = %(conta)s AND v.primeiro < %(fim)s{filtro}
    ) cada
    WHERE fim > %(inicio)s
    GROUP BY 1, 2, 3, 4
) vida CROSS JOIN unnest(%(numeros)s::int[], %(inicios)s::timestamptz[], %(fins)s::timestamptz[]) AS p (n, inicio, fim)
GROUP BY p.n, grandeza, unidade
"""


@dataclass(slots=True)
class Soma:
    """The consumption of a stretch, None where nothing is known of it, and what it rests on, counted in blocks.

    ``blocos`` have data, ``medidos`` is the sum of their measured shares, ``esperados`` are those that should have data.
    """

    total: Decimal | None = None
    blocos: int = 0
    medidos: Decimal = Decimal(0)
    interpolados: int = 0
    estimados: int = 0
    esperados: Decimal = Decimal(0)

    def mais(self, outra: "Soma", sinal: int = 1) -> None:
        """Add ``outra``, or take it away."""
        if outra.total is not None:
            self.total = (self.total or Decimal(0)) + sinal * outra.total
        self.blocos += sinal * outra.blocos
        self.medidos += sinal * outra.medidos
        self.interpolados += sinal * outra.interpolados
        self.estimados += sinal * outra.estimados
        self.esperados += sinal * outra.esperados

    @property
    def sabida(self) -> bool:
        """Whether anything is known: a register's first reading is in a block, and says nothing yet."""
        return bool(self.blocos and (self.total or self.medidos or self.interpolados or self.estimados))

    @property
    def cobertura(self) -> Decimal | None:
        """The measured share of what was expected, 0 to 1; None where nothing was."""
        return min(Decimal(1), self.medidos / self.esperados) if self.esperados > 0 else None

    @property
    def interpolado(self) -> Decimal:
        """The share in interpolated blocks, what is measured of them aside."""
        return self._parte(self.interpolados, Decimal(1) - (self.cobertura or 0))

    @property
    def estimado(self) -> Decimal:
        """The share in estimated blocks (a register that began again)."""
        return self._parte(self.estimados, Decimal(1))

    def _parte(self, blocos: int, maximo: Decimal) -> Decimal:
        return min(maximo, blocos / self.esperados) if self.esperados > 0 else Decimal(0)


@dataclass(slots=True)
class SomasDaGrandeza:
    """One quantity in one unit: a sum for each period asked for, and its newest reading among the devices that the Conta has.

    ``ultima_leitura`` is not later than the last block that was computed: the ledger follows ingestion within seconds.
    """

    grandeza: str
    unidade: str
    periodos: list[Soma]
    ultima_leitura: datetime | None = None


def somar(
    conta: Conta, dispositivos: Sequence[Dispositivo] | None, periodos: Sequence[Periodo], agora: datetime
) -> list[SomasDaGrandeza]:
    """The consumption of ``conta`` in each of ``periodos``, exactly, by quantity and unit in the order of ``Dispositivo.Grandeza``.

    Of ``dispositivos`` where given; otherwise of all that was measured for the Conta, with devices that have since left it.
    """
    if dispositivos is not None and not dispositivos:
        return []
    mantidas = grades(agora, layers.DE_CONTAS if dispositivos is None else layers.DE_DISPOSITIVOS)
    partes = [pedacos(periodo, mantidas) for periodo in periodos]
    usadas = dict.fromkeys(p.camada for parte in partes for p in parte)
    recortes = [Recorte(n, camada, partes) for n, camada in enumerate(usadas)]
    if not recortes:
        return []
    somas: dict[tuple[str, str], SomasDaGrandeza] = {}
    pecas: dict[tuple[str, str], dict[int, Soma]] = {}
    for de_peca, numero, grandeza, unidade, total, blocos, medidos, interpolados, estimados, ultima in _ler(
        conta, dispositivos, periodos, recortes
    ):
        chave = grandeza, unidade
        destino = somas.setdefault(chave, SomasDaGrandeza(grandeza, unidade, [Soma() for _ in periodos]))
        if de_peca:
            pecas.setdefault(chave, {})[numero] = Soma(
                total, int(blocos), medidos, int(interpolados), int(estimados)
            )
        else:
            destino.periodos[numero].esperados = total
            destino.ultima_leitura = max(filter(None, (destino.ultima_leitura, ultima)), default=None)
    por_camada = {recorte.camada: recorte for recorte in recortes}
    for chave, destino in somas.items():
        for soma, parte in zip(destino.periodos, partes, strict=True):
            for pedaco in parte:
                for peca in por_camada[pedaco.camada].pecas(pedaco):
                    if achada := pecas.get(chave, {}).get(peca):
                        soma.mais(achada, pedaco.sinal)
            if not soma.sabida:
                soma.total = None
    ordem = list(Dispositivo.Grandeza.values)
    return sorted(somas.values(), key=lambda s: (ordem.index(s.grandeza), s.unidade))


def _ler(
    conta: Conta,
    dispositivos: Sequence[Dispositivo] | None,
    periodos: Sequence[Periodo],
    recortes: Sequence["Recorte"],
) -> list[tuple[Any, ...]]:
    parametros: dict[str, Any] = {
        "conta": conta.pk,
        "inicio": min(p.inicio for p in periodos),
        "fim": max(p.fim for p in periodos),
        "numeros": list(range(len(periodos))),
        "inicios": [p.inicio for p in periodos],
        "fins": [p.fim for p in periodos],
    }
    if dispositivos is not None:
        parametros["dispositivos"] = [d.pk for d in dispositivos]
    filtro = ""
    if dispositivos is not None:
        parametros["dispositivos"] = [d.pk for d in dispositivos]
        filtro = " AND dispositivo_id = ANY(%(dispositivos)s)"
    partes = [recorte.sql(filtro, parametros) for recorte in recortes]
    sql = "UNION ALL".join([*partes, ESPERADOS.format(filtro=filtro)])
    with connection.cursor() as cursor:
        cursor.execute(sql, parametros)
        linhas: list[tuple[Any, ...]] = cursor.fetchall()
    return linhas


class Recorte:
    """What is read of one table: the stretches between ``cortes`` that are needed, numbered."""

    def __init__(self, numero: int, camada: Camada, partes: Iterable[Iterable[Pedaco]]) -> None:
        meus = [p for parte in partes for p in parte if p.camada == camada]
        self.camada = camada
        self.cortes = sorted({p.inicio for p in meus} | {p.fim for p in meus})
        self._deslocamento = numero * DESLOCAMENTO
        self._numero = {corte: n for n, corte in enumerate(self.cortes, self._deslocamento + 1)}
        self._necessarios = sorted({peca for p in meus for peca in self.pecas(p)})

    def pecas(self, pedaco: Pedaco) -> range:
        """The numbers of the stretches that make up ``pedaco``."""
        return range(self._numero[pedaco.inicio], self._numero[pedaco.fim])

    def trechos(self) -> list[Periodo]:
        """The stretches needed, neighbours as one."""
        juntos: list[Periodo] = []
        for peca in self._necessarios:
            inicio, fim = self.cortes[peca - self._deslocamento - 1 : peca - self._deslocamento + 1]
            if juntos and juntos[-1].fim == inicio:
                juntos[-1] = Periodo(juntos[-1].inicio, fim)
            else:
                juntos.append(Periodo(inicio, fim))
        return juntos

    def sql(self, filtro: str, parametros: dict[str, Any]) -> str:
        """The statement that reads them; its own parameters are added to ``parametros``."""
        n = self._deslocamento
        trechos = self.trechos()
        parametros |= {f"deslocamento{n}": n, f"cortes{n}": self.cortes}
        # The whole first: parts of a table that lie outside of it are not looked at.
        limites = [Periodo(trechos[0].inicio, trechos[-1].fim), *(trechos if len(trechos) > 1 else [])]
        condicoes = []
        for i, trecho in enumerate(limites):
            parametros |= {f"de{n}_{i}": trecho.inicio, f"ate{n}_{i}": trecho.fim}
            condicoes.append(f"({self.camada.trecho(f'de{n}_{i}', f'ate{n}_{i}')})")
        todo, *cada = condicoes
        fonte = (DA_CONTA if self.camada.da_conta else DE_DISPOSITIVOS).format(
            coluna=self.camada.coluna,
            somas=self.camada.somas,
            fonte=self.camada.fonte,
            filtro=filtro,
            trechos=f"{todo} AND ({' OR '.join(cada)})" if cada else todo,
        )
        return PARTE.format(n=n, coluna=self.camada.coluna, fonte=fonte)
