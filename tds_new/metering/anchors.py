"""Chooses the readings that are kept when a device's older ones are dropped.

Its figures go on from them exactly as if nothing had been dropped: from a reading whose register state is
known, which lies before everything that a later reading may still change. Times are microseconds since 1970.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from psycopg import Cursor

from tds_new.metering.inputs import (
    Span,
    Standing,
    load_chains,
    load_meters,
    load_occurrences,
    load_standings,
    load_states,
    nth_reading,
)
from tds_new.metering.record import Record
from tds_new.metering.rules.blocks import REGISTERS
from tds_new.metering.rules.meter import Meter
from tds_new.metering.rules.segments import State
from tds_new.metering.times import BEGINNING, BLOCK_US, block_start

FIRST_READ_US = 4 * BLOCK_US  # read before the border at first; more where that is not enough


class Anchor(NamedTuple):
    """The reading from which on a device's readings are kept.

    It is at ``origin``, with the register's ``state`` there; None: it is the first.

    Blocks before ``final`` are final.
    """

    device_id: int
    final: int
    origin: int
    state: State | None


def choose(cursor: Cursor[Any], devices: Sequence[int], border: int) -> Iterator[Anchor]:
    """Yield the anchor of each device that has readings before ``border``.

    Nothing before the border waits to be computed, and the devices' partitions are locked.
    """
    meters, standings = load_meters(cursor, list(devices)), load_standings(cursor, list(devices))
    pending = {device: (border - FIRST_READ_US, 16) for device in devices if device in meters}
    while pending:
        spans = [
            Span(device, max(start, standings[device].origin), border)
            for device, (start, _) in pending.items()
        ]
        chains, known = load_chains(cursor, spans, meters), load_occurrences(cursor, spans)
        states = load_states(cursor, spans)
        for device, start, _ in spans:
            standing, reach = standings[device], pending[device][1]
            record = Record(
                chains.get(device, []),
                {o.time: o for o in known.get(device, [])},
                states.get(device, {}),
                meters[device],
                start <= standing.origin,
                standing.origin,
            )
            found = _anchor(device, record, standing, border, meters[device])
            if found is not None:
                yield found
            if found is not None or (record.whole and not record.chains):
                del pending[device]
                continue
            earlier = nth_reading(cursor, device, start, reach, before=True)
            pending[device] = (BEGINNING if earlier is None else earlier), 8 * reach


def _anchor(device_id: int, record: Record, standing: Standing, border: int, meter: Meter) -> Anchor | None:
    """Return the device's anchor.

    None if more readings must be read, or there are none.
    """
    newest = record.last_before(border)
    if newest is None:
        return _from_first(device_id, record, standing)
    kind = record.chains[newest.chain].kind
    settled = newest.state.reach if kind in REGISTERS else newest.time
    final = max(block_start(settled), standing.final)
    begun = block_start(settled)
    origin = record.last_before(begun + 1, skip=kind == "INCREMENTAL" and meter.stamp_is_start, border=begun)
    if origin is None:
        return _from_first(device_id, record, standing)
    return Anchor(device_id, final, origin.time, origin.state)


def _from_first(device_id: int, record: Record, standing: Standing) -> Anchor | None:
    """Return all readings as the anchor, if all of them are read."""
    if not record.whole or record.first is None:
        return None
    first = record.first
    return Anchor(device_id, max(block_start(first), standing.final), first, record.states.get(first))
