"""What the product's rules give for a meter of the model, without a database."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from tds_new.metering.rules.blocks import Account, Chain, Computation, compute_chains, consumption_of
from tds_new.metering.rules.blocks import Block as RulesBlock
from tds_new.metering.rules.meter import Meter as RulesMeter
from tds_new.metering.rules.meter import MeterChange
from tds_new.metering.rules.meter import Parameters as RulesParameters
from tds_new.metering.rules.segments import Occurrence as RulesOccurrence
from tds_new.metering.rules.segments import SegmentClass
from tds_new.metering.rules.unusual import unusual
from tds_new.metering.times import from_datetime, to_datetime
from tests.metering.model import (
    DECIDED,
    Block,
    Figures,
    Meter,
    Occurrence,
    Parameters,
    State,
    split,
)


def whole(value: Decimal, decimals: int = 4) -> int:
    """Return an exact decimal as a whole number."""
    scaled = value.scaleb(decimals)
    assert scaled == int(scaled)
    return int(scaled)


def optional(value: Decimal | None) -> int | None:
    return None if value is None else whole(value)


def amount(units: int | None, decimals: int = 6) -> Decimal | None:
    return None if units is None else Decimal(units).scaleb(-decimals)


def moment(time: int | None) -> datetime | None:
    return None if time is None else to_datetime(time)


def parameters_of(parameters: Parameters) -> RulesParameters:
    return RulesParameters(
        optional(parameters.capacity),
        optional(parameters.pmax),
        whole(parameters.eps),
        whole(parameters.factor, 6),
    )


def meter_of(meter: Meter) -> RulesMeter:
    """Return the rules' meter for one of the model."""
    found = RulesMeter(
        meter.expected().seconds * 1_000_000 + meter.expected().days * 86_400_000_000,
        parameters_of(meter.own),
        [(from_datetime(at), parameters_of(meter.dated[at])) for at in sorted(meter.dated)],
        [
            MeterChange(from_datetime(at), whole(meter.changes[at].final), whole(meter.changes[at].initial))
            for at in sorted(meter.changes)
        ],
        stamp_is_start=meter.carimbo == "INICIO",
    )
    for at, decision in meter.decisions.items():
        time = from_datetime(at)
        if decision.decisao in DECIDED:
            found.decided[time] = decision.decisao
        elif decision.decisao == "VISTA":
            found.looked.add(time)
        elif decision.decisao == "ATRIBUIDA" and decision.atribuida_a is not None:
            found.attributed[time] = decision.atribuida_a
    return found


def chains_of(meter: Meter) -> list[Chain]:
    """Return the chains, with corrected values and without discarded readings."""
    return [
        Chain(
            chain[0].conta,
            chain[0].tipo,
            chain[0].unidade,
            [from_datetime(reading.time) for reading in chain],
            [whole(reading.valor) for reading in chain],
            [reading.gateway for reading in chain],
        )
        for chain in split(meter)
    ]


def figures(meter: Meter) -> Figures:
    """Return everything that the rules say of what is stored about a device."""
    rules, chains = meter_of(meter), chains_of(meter)
    computation = compute_chains(chains, rules)
    contas = {time: chain.conta_id for chain in chains for time in chain.times}
    values = {time: value for chain in chains for time, value in zip(chain.times, chain.values, strict=True)}
    found = {one.time: one for one in computation.occurrences}
    for one in unusual_of(computation, rules, values):
        before = found.get(one.time)
        if before is None or before.kind is not SegmentClass.QUEDA:
            found[one.time] = one if before is None else before._replace(waits=one.waits)
    last = computation.accounts[-1] if computation.accounts else Account(0, "")
    return Figures(
        {
            (to_datetime(start), conta): block(start, conta, row)
            for (conta, start), row in computation.blocks.items()
        },
        {to_datetime(time): occurrence(one, contas[time]) for time, one in found.items()},
        State(moment(last.border), moment(last.provisional_since)),
    )


def unusual_of(
    computation: Computation, meter: RulesMeter, values: dict[int, int]
) -> Iterator[RulesOccurrence]:
    """Yield the occurrences of unusual segments."""
    for account in computation.accounts:
        if account.kind != "ACUMULADA":
            continue
        hours = consumption_of(account.segments, meter)
        for one in unusual(account.segments, hours, zero_start=account.zero_start, decided=meter.decided):
            start, end, counted, _ = one.segment
            value, waits = values[end], end not in meter.looked
            yield RulesOccurrence(
                end, value, SegmentClass.INCOMUM, start, value - counted, None, end, waits, "N", one.numbers
            )


def block(start: int, conta: int, row: RulesBlock) -> Block:
    return Block(
        to_datetime(start),
        conta,
        row.gateway_id,
        amount(row.consumption),
        row.readings,
        Decimal(row.measured).scaleb(-4),
        row.quality,
        amount(row.minimum),
        amount(row.maximum),
        amount(row.total),
        amount(row.last),
        row.samples,
    )


def occurrence(one: RulesOccurrence, conta: int) -> Occurrence:
    return Occurrence(
        to_datetime(one.time),
        conta,
        Decimal(one.value).scaleb(-4),
        str(one.kind),
        to_datetime(one.base_time),
        Decimal(one.base_value).scaleb(-4),
        amount(one.amount, 4),
        moment(one.settled),
        one.waits,
    )
