"""The rules on worked examples: readings of a device, and the figures that they must give.

``vectors.json`` has them, by the names of the tables and of docs/metering.md.
"""

import json
from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tds_new.metering.rules.blocks import Account, Chain, Computation, compute_chains, hours_of
from tds_new.metering.rules.meter import Meter, MeterChange, Parameters
from tds_new.metering.rules.unusual import unusual
from tds_new.metering.times import from_datetime, to_datetime
from tds_new.units import default_dip_tolerance, default_hourly_maximum, unit_factor
from tests.support.paths import ROOT

pytestmark = pytest.mark.once

VECTORS: list[dict[str, Any]] = json.loads((ROOT / "tests" / "metering" / "vectors.json").read_text("utf-8"))
DEVICES = [vector for vector in VECTORS if "dispositivo" in vector]
KEYS = {"hora": "%Y-%m-%dT%H:00%z", "dia": "%Y-%m-%d", "mes": "%Y-%m", "bloco": "%Y-%m-%dT%H:%M%z"}
QUALITIES = ["MEDIDO", "INTERPOLADO", "ESTIMADO"]


def us(text: str) -> int:
    return from_datetime(datetime.fromisoformat(text))


def iso(time: int | None) -> str | None:
    return None if time is None else to_datetime(time).isoformat().replace("+00:00", "Z")


def whole(value: Any, decimals: int = 4) -> int:
    scaled = Fraction(value) * 10**decimals
    assert scaled.denominator == 1
    return int(scaled)


def plain(units: int | None, decimals: int) -> str | None:
    """Return a number without an exponent or needless zeros."""
    if units is None:
        return None
    text = f"{Decimal(units).scaleb(-decimals):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def parameters(given: dict[str, Any], before: Parameters) -> Parameters:
    """Return ``before`` with what is given for a device or a date."""

    def read(name: str, kept: int | None, decimals: int = 4) -> int | None:
        value = given.get(name, kept)
        if name not in given:
            return kept
        return None if value in (None, "SEM_LIMITE") else whole(value, decimals)

    return Parameters(
        read("valor_maximo_registro", before.capacity),
        read("consumo_maximo_hora", before.hourly_maximum),
        read("tolerancia_queda", before.dip_tolerance) or 0,
        read("fator_conversao", before.factor, 6) or 0,
    )


def meter_of(device: dict[str, Any]) -> Meter:
    """Return the meter of a vector's device, with the parameters of a new one."""
    own = device.get("parametros", {})
    unit = (
        device.get("grandeza", "ENERGIA"),
        device.get("unidade", "kWh"),
        device.get("unidade_consumo", ""),
        Fraction(own.get("fator_conversao") or 1),
    )
    maximum = default_hourly_maximum(*unit)
    new = Parameters(None, None if maximum is None else whole(maximum), whole(default_dip_tolerance(*unit)))
    base = parameters(own, new)
    meter = Meter(
        device.get("intervalo_esperado_s", 900) * 1_000_000,
        base,
        [(us(dated["desde"]), parameters(dated, base)) for dated in device.get("vigencias", [])],
        [
            MeterChange(us(c["ocorrida_em"]), whole(c["leitura_final"]), whole(c["leitura_inicial"]))
            for c in device.get("trocas", [])
        ],
        stamp_is_start=device.get("carimbo") == "INICIO",
    )
    for decision in device.get("decisoes", []):
        time, kind = us(decision["leitura_em"]), decision.get("decisao")
        if decision.get("valor_corrigido") is not None:
            meter.corrected[time] = whole(decision["valor_corrigido"])
        if kind == "DESCARTADA":
            meter.discarded.add(time)
        elif kind == "VISTA":
            meter.looked.add(time)
        elif kind:
            meter.decided[time] = kind
    return meter


def chains_of(device: dict[str, Any], meter: Meter) -> list[Chain]:
    received: dict[int, tuple[int, str, str]] = {}
    for text, value, *more in device["leituras"]:  # the first value for a time stays
        extra = more[0] if more else {}
        kind = extra.get("tipo", device.get("tipo_leitura", "ACUMULADA"))
        time = us(text)
        received.setdefault(time, (meter.corrected.get(time, whole(value)), extra.get("conta", "A"), kind))
    rows = sorted((time, *row) for time, row in received.items() if time not in meter.discarded)
    return [
        Chain(ord(conta), kind, "kWh", [r[0] for r in found], [r[1] for r in found], [1] * len(found))
        for (conta, kind), group in groupby(rows, key=lambda row: row[2:])
        for found in [list(group)]
    ]


def listed(computation: Computation, meter: Meter) -> list[list[Any]]:
    """Return the occurrences with those of INCOMUM, as a vector has them."""
    rows = {
        o.time: [iso(o.time), str(o.kind), plain(o.amount, 4), iso(o.settled), o.waits]
        for o in computation.occurrences
    }
    for account in computation.accounts:
        for found in judged(account, meter):
            time = found.segment.end
            if time in rows:
                rows[time][4] = time not in meter.looked
            else:
                rows[time] = [iso(time), "INCOMUM", None, iso(time), time not in meter.looked]
    return [rows[time] for time in sorted(rows)]


def judged(account: Account, meter: Meter) -> list[Any]:
    if account.kind != "ACUMULADA":
        return []
    hours = hours_of(account.segments, meter)
    return unusual(account.segments, hours, zero_start=account.zero_start, decided=meter.decided)


def answer(device: dict[str, Any]) -> dict[str, Any]:
    """Return what a vector expects of a device."""
    meter = meter_of(device)
    computation = compute_chains(chains_of(device, meter), meter)
    zone, form = ZoneInfo(device.get("fuso", "America/Sao_Paulo")), KEYS[device.get("por", "hora")]
    sums: dict[str, int] = defaultdict(int)
    quality: dict[str, str] = {}
    for (conta, start), block in sorted(computation.blocks.items()):
        if block.consumption is None or not (block.consumption or block.covered or block.quality != "MEDIDO"):
            continue  # a reading without a segment: the vectors have only what segments overlap
        key = to_datetime(start).astimezone(zone).strftime(form)
        key = key if chr(conta) == "A" else f"{chr(conta)} {key}"
        sums[key] += block.consumption
        quality[key] = max(quality.get(key, "MEDIDO"), block.quality, key=QUALITIES.index)
    return {
        "consumo": {key: [plain(value, 6), quality[key]] for key, value in sums.items()},
        "total": plain(sum(sums.values()), 6),
        "ocorrencias": listed(computation, meter),
        "assentado_ate": iso(computation.accounts[-1].border) if computation.accounts else None,
    }


@pytest.mark.parametrize("vector", DEVICES, ids=lambda vector: vector["id"])
def test_a_device_has_the_figures_of_its_vector(vector: dict[str, Any]) -> None:
    assert answer(vector["dispositivo"]) == vector["esperado"]


@pytest.mark.parametrize("vector", [v for v in VECTORS if "unidades" in v], ids=lambda vector: vector["id"])
def test_units_convert_as_their_vector_says(vector: dict[str, Any]) -> None:
    factors = [unit_factor(sent, registered) for sent, registered in vector["unidades"]]
    expected = [None if text is None else Fraction(text) for text in vector["esperado"]]
    assert factors == expected
