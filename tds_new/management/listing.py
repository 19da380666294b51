"""Lines for people about what would change of devices' consumption, by month."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection
from django.utils.timezone import now

from tds_new.logs import printable
from tds_new.metering.dry_run import Change
from tds_new.models import Conta, Dispositivo

COLUMNS = ("month", "before", "after", "difference", "waits for people", "")
QUEUED = "SELECT count(*) FROM tds_new_consumo_pendente"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return ``rows`` as lines with aligned columns."""
    widths = [max(len(row[number]) for row in rows) for number in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def quantity(consumption: Decimal | int) -> str:
    """Return a consumption without needless zeros; a whole number is of 0.000001."""
    value = Decimal(consumption).scaleb(-6) if isinstance(consumption, int) else consumption
    return f"{value.normalize():f}"


def title(device: Dispositivo) -> str:
    """Return whose device it is, and its unit."""
    unit = device.unidade_consumo or device.unidade
    return printable(f"{device.conta}, gateway {device.gateway.codigo}, device {device.codigo} ({unit})")


def is_final(month: str, zone: ZoneInfo) -> bool:
    """Return whether all of a month is older than the maximum lateness."""
    year, number = int(month[:4]), int(month[5:])
    end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=zone)
    return end <= now() - timedelta(days=settings.TDS_MAX_LATENESS_DAYS)


@dataclass(slots=True)
class Listing:
    """The lines about each device, and how many there were."""

    devices: int = 0
    months: int = 0
    final: int = 0

    def lines(self, changes: Sequence[Change]) -> Iterator[str]:
        """Yield a table of the months that would change, each with its Conta's zone."""
        contas = Conta.objects.in_bulk({change.month.conta_id for change in changes})
        rows = []
        for change in changes:
            conta = contas[change.month.conta_id]
            final = is_final(change.month.month, conta.zone)
            self.months += 1
            self.final += final
            rows.append(
                (
                    change.month.month,
                    quantity(change.before),
                    quantity(change.after),
                    f"{Decimal(change.after - change.before).scaleb(-6).normalize():+f}",
                    _waiting(change.waiting_before, change.waiting_after),
                    "final" if final else "",
                )
            )
        yield from table([COLUMNS, *rows])


def _waiting(before: Counter[str], after: Counter[str]) -> str:
    """Say how many readings would wait, by class, where that changes from how many do."""
    kinds = sorted(before.keys() | after.keys())
    said = [
        f"{after[kind]} {kind}" if before[kind] == after[kind] else f"{before[kind]} -> {after[kind]} {kind}"
        for kind in kinds
    ]
    return ", ".join(said) or "-"


def queued() -> int:
    """Return how many ranges wait to be computed."""
    with connection.cursor() as cursor:
        cursor.execute(QUEUED)
        return int(cursor.fetchone()[0])


def warning_of_queued() -> Iterable[str]:
    """Return a warning where stored figures are behind the readings."""
    count = queued()
    if count:
        return (
            f"[WARN] {count} ranges wait for the worker; what they will change is listed too "
            "(process_consumption --once computes them)",
        )
    return ()
