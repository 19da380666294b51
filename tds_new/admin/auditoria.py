"""Who changed what about a device's metering, in words. Only looked at: the database writes it and lets nobody change it."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tds_new.admin.base import ReadOnlyAdmin, WideListAdmin
from tds_new.admin.filters import ContaWithRowsFilter
from tds_new.admin.formatos import NOTHING, clock, clock_with_zone, number
from tds_new.models import AuditoriaMedicao, Dispositivo, Gateway, OcorrenciaMedicao, RevisaoLeitura, TrocaMedidor, VigenciaParametros

TABLES: dict[str, type[Model]] = {model._meta.db_table: model for model in (TrocaMedidor, VigenciaParametros, RevisaoLeitura, Dispositivo)}
DONE: dict[str, Promise] = {
    "INSERT": gettext_lazy("Incluído"),
    "UPDATE": gettext_lazy("Alterado"),
    "DELETE": gettext_lazy("Excluído"),
}
# What says nothing to people: keys, and what the entry itself says.
UNSAID = {"id", "dispositivo_id", "conta_id", "registrado_por_id", "registrado_em"}


class TableFilter(admin.SimpleListFilter):
    """By what was changed."""

    title = gettext_lazy("registro")
    parameter_name = "tabela"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The kinds of entry."""
        return [(table, model._meta.verbose_name) for table, model in TABLES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The changes of the chosen kind."""
        return queryset.filter(tabela=self.value()) if self.value() else queryset


class DoneFilter(admin.SimpleListFilter):
    """By what was done."""

    title = gettext_lazy("ação")
    parameter_name = "acao"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Entered, changed, deleted."""
        return list(DONE.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The changes of the chosen kind."""
        return queryset.filter(acao=self.value()) if self.value() else queryset


@admin.register(AuditoriaMedicao)
class AuditoriaMedicaoAdmin(WideListAdmin, ReadOnlyAdmin):
    """The trail of all devices; ``?dispositivo=`` shows that of one."""

    list_display = ("when", "who", "device", "what", "changes", "why")
    list_filter = (TableFilter, DoneFilter, ContaWithRowsFilter, "em")
    list_select_related = ("dispositivo__conta", "dispositivo__gateway")
    list_per_page = 50
    search_fields = (
        "usuario",
        "motivo",
        "dispositivo__codigo",
        "dispositivo__nome",
        "dispositivo__gateway__codigo",
        "dispositivo__gateway__mac",
        "dispositivo__conta__name",
    )
    fields = ("when", "who", "device", "what", "changes", "why")
    readonly_fields = fields

    class Media:
        css = {"all": ("tds_new/css/admin.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The changes with their devices."""
        return super().get_queryset(request).select_related(*self.list_select_related)

    @admin.display(description=gettext_lazy("em"), ordering="id")
    def when(self, change: AuditoriaMedicao) -> str:
        """When, in the Conta's time."""
        return clock_with_zone(change.em, change.dispositivo.conta.zone)

    @admin.display(description=gettext_lazy("quem"), ordering="usuario")
    def who(self, change: AuditoriaMedicao) -> str:
        """Who signed it; what nobody signed was done outside these pages."""
        return change.usuario or _("(sem assinatura)")

    @admin.display(description=gettext_lazy("dispositivo"), ordering="dispositivo__codigo")
    def device(self, change: AuditoriaMedicao) -> str:
        """The device, its gateway and its Conta."""
        url = reverse("admin:tds_new_dispositivo_change", args=[change.dispositivo_id])
        device = change.dispositivo
        return format_html('<a href="{}">{}</a><br><span class="quiet">{} · {}</span>', url, device, device.gateway.codigo, device.conta)

    @admin.display(description=gettext_lazy("o quê"))
    def what(self, change: AuditoriaMedicao) -> str:
        """What kind of entry, and what was done to it."""
        model = TABLES.get(change.tabela)
        name = str(model._meta.verbose_name) if model else change.tabela
        return format_html("{}<br>{}", name[:1].upper() + name[1:], DONE.get(change.acao, change.acao))

    @admin.display(description=gettext_lazy("antes e depois"))
    def changes(self, change: AuditoriaMedicao) -> str:
        """A line for each field that differs, or for each of an entry that came or went."""
        before, after = change.antes or {}, change.depois or {}
        model, gateways = TABLES.get(change.tabela), _gateways(before, after)
        lines = []
        for name in [name for name in {**before, **after} if name not in UNSAID]:
            old, new = before.get(name), after.get(name)
            if old == new or (not (before and after) and (name == "motivo" or (old or new) in (None, ""))):
                continue
            label = _label(model, name)
            values = [_readable(change, model, name, value, gateways) for value, there in ((old, before), (new, after)) if there]
            lines.append((label, " → ".join(values)))
        return format_html_join("", "<div>{}: {}</div>", lines) or NOTHING

    @admin.display(description=gettext_lazy("motivo"))
    def why(self, change: AuditoriaMedicao) -> str:
        """The reason given."""
        return change.motivo or NOTHING


def _gateways(before: dict[str, Any], after: dict[str, Any]) -> dict[int, str]:
    """The gateways between which a device was moved."""
    ids = {row["gateway_id"] for row in (before, after) if "gateway_id" in row}
    return {gateway.pk: str(gateway) for gateway in Gateway.objects.filter(pk__in=ids)} if len(ids) > 1 else {}


def _label(model: type[Model] | None, name: str) -> str:
    """What people call the column."""
    if model is None:
        return name
    label = str(model._meta.get_field(name.removesuffix("_id")).verbose_name)  # type: ignore[union-attr]
    return label[:1].upper() + label[1:]


def _readable(change: AuditoriaMedicao, model: type[Model] | None, name: str, value: Any, gateways: dict[int, str]) -> str:
    """A value of the trail as people read it."""
    if value is None or value == "":
        return NOTHING
    if name == "gateway_id":
        return gateways.get(value, str(value))
    if name == "decisao":
        return str(dict(RevisaoLeitura.Decisao.choices).get(value, value))
    if name == "classe":
        return str(dict(OcorrenciaMedicao.Classe.choices).get(value, value))
    kind = model._meta.get_field(name).get_internal_type() if model else ""
    if kind == "DateTimeField":
        return clock(datetime.fromisoformat(value), change.dispositivo.conta.zone)
    return number(Decimal(str(value))) if kind == "DecimalField" else str(value)
