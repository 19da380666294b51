"""Filters that stay short, however many gateways and Contas there are."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet, Sum
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from tds_new.models import Conta, Gateway, RejeicaoContador

LISTED_AT_MOST = 30


def by_date(title: Promise) -> type[admin.DateFieldListFilter]:
    """Return a filter by a date with its own title: "by read at" would say nothing."""

    class ByDate(admin.DateFieldListFilter):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.title = str(title)

    return ByDate


class ReprocessedFilter(admin.SimpleListFilter):
    """Selects rows that still wait, or rows that were accepted later."""

    title = _("situação")
    parameter_name = "situacao"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the two states."""
        return [("pendente", _("À espera")), ("reprocessada", _("Aceita depois"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows in the chosen state."""
        if self.value() in ("pendente", "reprocessada"):
            return queryset.filter(reprocessada_em__isnull=self.value() == "pendente")
        return queryset


class _MostRefusedFilter(admin.SimpleListFilter):
    """Offers the objects with the most refusals, and always the one that was chosen."""

    model: type[Gateway] | type[Conta]
    counter_path: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return ids and names, the most refused first."""
        path = self.counter_path
        counted = (
            RejeicaoContador.objects.filter(gateway__isnull=False)
            .values_list(path)
            .annotate(n=Sum("total"))
            .order_by("-n", path)
        )
        ids = [row[0] for row in counted[:LISTED_AT_MOST]]
        chosen = request.GET.get(self.parameter_name or "", "")
        if _is_key(chosen) and int(chosen) not in ids:
            ids.append(int(chosen))
        names = {row.pk: str(row) for row in self.model._default_manager.filter(pk__in=ids)}
        return [(str(pk), names.get(pk, str(pk))) for pk in ids]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the chosen object; none if the address was tampered with."""
        value = self.value()
        if value is None:
            return queryset
        return (
            queryset.filter(**{f"{self.parameter_name}_id": int(value)})
            if _is_key(value)
            else queryset.none()
        )


class GatewayFilter(_MostRefusedFilter):
    """Selects by gateway."""

    title = _("gateway (com mais rejeições)")
    parameter_name = "gateway"
    model = Gateway
    counter_path = "gateway"


class ContaFilter(_MostRefusedFilter):
    """Selects by Conta."""

    title = _("conta (com mais rejeições)")
    parameter_name = "conta"
    model = Conta
    counter_path = "gateway__conta"


class ContaWithRowsFilter(admin.SimpleListFilter):
    """Offers the Contas with the most rows in the list, and the one that was chosen."""

    title = _("conta (com mais registros)")
    parameter_name = "conta"
    path = "dispositivo__conta"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return ids and names, the Conta with most rows first."""
        counted = (
            model_admin.model._default_manager.order_by()
            .values_list(self.path)
            .annotate(n=Count("pk"))
            .order_by("-n", self.path)
        )
        ids = [row[0] for row in counted[:LISTED_AT_MOST]]
        chosen = request.GET.get("conta", "")
        if _is_key(chosen) and int(chosen) not in ids:
            ids.append(int(chosen))
        names = {conta.pk: conta.name for conta in Conta.objects.filter(pk__in=ids)}
        return [(str(pk), names.get(pk, str(pk))) for pk in ids]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the chosen Conta; none if the address was tampered with."""
        value = self.value()
        if value is None:
            return queryset
        return queryset.filter(**{self.path: int(value)}) if _is_key(value) else queryset.none()


class ContaOfReadingFilter(ContaWithRowsFilter):
    """Selects by the reading's Conta, which after a transfer is not the device's."""

    path = "conta"


def _is_key(value: str) -> bool:
    return value.isascii() and value.isdecimal() and len(value) < 19
