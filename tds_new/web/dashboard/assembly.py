"""The whole dashboard as one dictionary: what the page is rendered from, and what its polls fetch."""

import logging
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import Any, TypeVar

from django.db import DatabaseError
from django.http import QueryDict
from django.utils.translation import gettext as _

from tds_new.models import Conta
from tds_new.queries import fleet
from tds_new.queries.consumption import (
    MonthlyConsumption,
    PeriodConsumption,
    closed_months,
    month_to_date,
    monthly_consumption,
)
from tds_new.queries.local_calendar import local_month
from tds_new.web import filters
from tds_new.web.dashboard.cache import remember
from tds_new.web.dashboard.cards import cards
from tds_new.web.dashboard.charts import Chart, bar_charts, chart_window, line_charts
from tds_new.web.dashboard.consumption import demand_of_month
from tds_new.web.dashboard.context import Context
from tds_new.web.dashboard.tables import offline_table, readings_table
from tds_new.web.etag import VERSION

logger = logging.getLogger(__name__)
T = TypeVar("T")


def prepare(conta: Conta, parameters: QueryDict, sequences: fleet.Sequences, now: datetime) -> Context:
    """Look up the Conta's fleet and read the filter against it."""
    gateways = fleet.active_gateways(conta)
    all_devices = fleet.active_devices(conta, gateways)
    filter_ = filters.parse(parameters, conta, all_devices, now)
    return Context(conta, filter_, now, sequences, all_devices, gateways)


def assemble(context: Context, has: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Every block; of the series only the parts that the browser does not have (``has``).

    A block that fails says so in ``falhas`` and leaves the others whole.
    """
    failures: dict[str, str] = {}
    no_consumption: tuple[list[PeriodConsumption] | None, list[MonthlyConsumption]] = None, []
    this_month, monthly = _block(failures, "barras", lambda: _consumptions(context), no_consumption)
    greatest = (
        None
        if context.never_measured
        else _block(failures, "demanda", lambda: demand_of_month(context), None)
    )
    charts: list[Chart] = (
        [] if context.never_measured else _block(failures, "graficos", lambda: line_charts(context, has), [])
    )
    empty: dict[str, Any] = {"vazio": "", "linhas": []}
    return {
        "v": VERSION,
        "seq": context.sequences.ingestion,
        "titulo": context.filter.title,
        "janela": chart_window(context.filter.window),
        "cartoes": cards(context, this_month, greatest),
        "graficos": charts,
        "barras": bar_charts(context, monthly),
        "leituras": _block(failures, "leituras", lambda: readings_table(context), empty),
        "offline": offline_table(context),
        "falhas": failures,
    }


def _consumptions(context: Context) -> tuple[list[PeriodConsumption] | None, list[MonthlyConsumption]]:
    conta, now = context.conta, context.now
    devices = context.filter.selected or None
    which = ",".join(str(d.pk) for d in devices or [])
    key = f"{conta.pk}:{conta.timezone}:{local_month(now, conta.zone)}:{which}"
    closed = remember(f"meses:{sha256(key.encode()).hexdigest()}", lambda: closed_months(conta, devices, now))
    this_month = month_to_date(conta, devices, now)
    return this_month, monthly_consumption(conta, devices, now, this_month, closed)


def _block(failures: dict[str, str], name: str, compute: Callable[[], T], without_data: T) -> T:
    try:
        return compute()
    except DatabaseError:
        logger.exception("dashboard block %s failed", name)
        failures[name] = _("Não foi possível carregar este bloco. Os outros dados estão corretos.")
        return without_data
