"""Meters and what they should give, from ``vectors.json``: examples that the rules were published with.

Values are decimal texts, times ISO 8601; ``por`` says what the figures are summed over, in São Paulo's time.
"""

import json
from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from tests.metering.model import Change, Decision, Figures, Meter, Parameters, Reading, canonical
from tests.support.paths import ROOT

ZONE = ZoneInfo("America/Sao_Paulo")
# By unit of consumption: the largest plausible consumption per hour and the tolerance at registration.
DEFAULTS = {
    "kWh": (Decimal(1000), Decimal("0.1")),
    "Wh": (Decimal(1_000_000), Decimal(100)),
    "m³": (Decimal(100), Decimal("0.01")),
}
PERIODS = {"hora": "%Y-%m-%dT%H:00%z", "dia": "%Y-%m-%d", "mes": "%Y-%m", "bloco": "%Y-%m-%dT%H:%M%z"}
QUALITIES = ["MEDIDO", "INTERPOLADO", "ESTIMADO"]


class Vector(NamedTuple):
    """A meter, what it should give, and over what that is summed."""

    meter: Meter
    expected: dict[str, Any]
    period: str


def vectors() -> dict[str, Vector]:
    """The vectors about the readings of one device, by name."""
    path = ROOT / "tests" / "metering" / "vectors.json"
    return {
        vector["id"]: Vector(
            meter(vector["dispositivo"]), vector["esperado"], PERIODS[vector["dispositivo"]["por"]]
        )
        for vector in json.loads(path.read_text(encoding="utf-8"))
        if "dispositivo" in vector
    }


def meter(device: dict[str, Any]) -> Meter:
    """The meter that a vector describes."""
    own = device.get("parametros", {})
    unidade = canonical(device.get("unidade", "kWh"))
    pmax, eps = DEFAULTS[device.get("unidade_consumo", unidade)]
    per_pulse = Decimal(own.get("fator_conversao", 1)) if "unidade_consumo" in device else Decimal(1)
    parameters = changed(Parameters(pmax=pmax / per_pulse, eps=eps / per_pulse), own)
    found = Meter(
        parameters,
        interval=device.get("intervalo_esperado_s", 900),
        carimbo=device.get("carimbo", "FIM"),
        dated={moment(one["desde"]): changed(parameters, one) for one in device.get("vigencias", [])},
        changes={
            moment(one["ocorrida_em"]): Change(Decimal(one["leitura_final"]), Decimal(one["leitura_inicial"]))
            for one in device.get("trocas", [])
        },
        decisions={
            moment(one["leitura_em"]): Decision(one.get("decisao", ""), number(one.get("valor_corrigido")))
            for one in device.get("decisoes", [])
        },
    )
    for time, valor in device["leituras"]:
        reading = Reading(
            moment(time), Decimal(valor), tipo=device.get("tipo_leitura", "ACUMULADA"), unidade=unidade
        )
        found.readings.setdefault(reading.time, reading)
    return found


def changed(parameters: Parameters, given: dict[str, Any]) -> Parameters:
    """Parameters with what a vector gives in their place."""
    return Parameters(
        capacity=number(given.get("valor_maximo_registro", parameters.capacity)),
        pmax=number(given.get("consumo_maximo_hora", parameters.pmax)),
        eps=number(given.get("tolerancia_queda", parameters.eps)) or Decimal(0),
        factor=number(given.get("fator_conversao", parameters.factor)) or Decimal(1),
    )


def answer(figures: Figures, period: str) -> dict[str, Any]:
    """What figures say, in a vector's form; periods in which nothing was counted are left out."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    qualities: dict[str, set[str]] = defaultdict(set)
    for (start, _), block in sorted(figures.blocks.items()):
        name = start.astimezone(ZONE).strftime(period)
        sums[name] += block.consumo or 0
        qualities[name].add(block.qualidade)
    return {
        "consumo": {
            name: [text(amount), max(qualities[name], key=QUALITIES.index)] for name, amount in sums.items()
        },
        "total": text(sum(sums.values(), Decimal(0))),
        "ocorrencias": [
            [iso(one.leitura_em), one.classe, text(one.consumo), iso(one.decidida_em), one.espera]
            for _, one in sorted(figures.occurrences.items())
        ],
        "assentado_ate": iso(figures.state.assentado_ate),
    }


def moment(text: str) -> datetime:
    """A time of a vector."""
    return datetime.fromisoformat(text)


def number(value: str | Decimal | None) -> Decimal | None:
    """A value of a vector."""
    return None if value is None else Decimal(value)


def text(value: Decimal | None) -> str | None:
    """A number as vectors write it."""
    return None if value is None else f"{value.normalize():f}"


def iso(time: datetime | None) -> str | None:
    """A time as vectors write it."""
    return None if time is None else time.isoformat().replace("+00:00", "Z")
