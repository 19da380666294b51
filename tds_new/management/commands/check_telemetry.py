"""``check_telemetry``: what arrived per gateway, and whether it is consistent."""

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand

from tds_new.logs import printable
from tds_new.management.listing import table
from tds_new.models import ManutencaoExecucao
from tds_new.queries.consistency import GatewayCheck, check_consumption, check_gateways

COLUMNS = ("gateway", "mac", "last message", "last reading", "readings", "rejected", "orphans", "tenants", "")


class Command(BaseCommand):
    """Prints a table; exit status 1 if something is inconsistent."""

    help = (
        "Show per gateway the last message, readings, rejected, orphans and tenants, and consumption; "
        "exit 1 if something is wrong."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the table, the sums, and what is wrong. Raises SystemExit if anything is."""
        checks = check_gateways()
        for line in table([COLUMNS, *(_row(check) for check in checks)]):
            self.stdout.write(line)
        wrong = [check for check in checks if not check.consistent]
        self.stdout.write(
            f"[{'ERROR' if wrong else 'OK'}] {sum(check.mac is not None for check in checks)} gateways, "
            f"{sum(check.readings for check in checks)} readings, "
            f"{sum(check.rejected for check in checks)} rejected, "
            f"{sum(check.orphans for check in checks)} orphans, "
            f"{sum(check.misplaced for check in checks)} devices under another tenant"
        )
        consumption = check_consumption()
        self.stdout.write(
            f"[OK] consumption: the oldest range to compute waits {consumption.waiting_s:.0f} s"
        )
        if consumption.failure:
            self.stdout.write(f"[ERROR] {consumption.failure}")
        if consumption.to_rebuild:
            since = _moment(consumption.rebuild_since) if consumption.rebuild_since else "their beginning"
            self.stdout.write(
                f"[WARN] {consumption.to_rebuild} devices wait for rebuild_consumption, since {since}: "
                "what changes there is not computed"
            )
        for task in ManutencaoExecucao.objects.overdue():
            last = _moment(task.ultimo_sucesso)
            line = f"[WARN] maintenance: {task.nome} is overdue; last success {last} {printable(task.erro)}"
            self.stdout.write(line.rstrip())
        if wrong or consumption.failed:
            raise SystemExit(1)


def _row(check: GatewayCheck) -> tuple[str, ...]:
    return (
        printable(check.codigo or "(not registered)"),
        check.mac or "-",
        _moment(check.last_seen),
        _moment(check.last_reading),
        str(check.readings),
        str(check.rejected),
        str(check.orphans),
        str(check.contas),
        "" if check.consistent else "[ERROR]",
    )


def _moment(value: datetime | None) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if value else "-"
