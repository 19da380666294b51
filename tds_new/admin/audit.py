"""The audit trail in words: who changed what about a device's metering.

Triggers write it, and nobody can change it.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import DateTimeField, Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tds_new.admin.base import LocalTimeAdmin, ReadOnlyAdmin, WideListAdmin, labelled
from tds_new.admin.filters import ContaWithRowsFilter, by_date
from tds_new.formats import MISSING, clock, clock_with_zone, register, register_with_unit
from tds_new.models import (
    AuditoriaMedicao,
    Conta,
    Dispositivo,
    Gateway,
    OcorrenciaMedicao,
    RevisaoLeitura,
    TrocaMedidor,
    VigenciaParametros,
)

MODELS: dict[str, type[Model]] = {
    model._meta.db_table: model
    for model in (TrocaMedidor, VigenciaParametros, RevisaoLeitura, Dispositivo, Gateway)
}
# Columns that tell people nothing: keys, and those that the entry itself shows.
UNSAID = {"id", "dispositivo_id", "conta_id", "registrado_por_id", "registrado_em", "regra", "numeros"}
# Columns that hold the key of something with a name.
REFERENCES: dict[str, type[Model]] = {
    "gateway_id": Gateway,
    "medidor_pai_id": Dispositivo,
    "atribuida_a_id": Conta,
}


@admin.register(AuditoriaMedicao)
class AuditoriaMedicaoAdmin(WideListAdmin, LocalTimeAdmin, ReadOnlyAdmin):
    """Shows the trail of all devices, or of one (``?dispositivo=``)."""

    list_display = ("when", "who", "device", "what", "changes", "why")
    list_filter = ("tabela", "acao", ContaWithRowsFilter, ("em", by_date(gettext_lazy("data"))))
    list_select_related = ("dispositivo__conta", "dispositivo__gateway")
    linked_by = ("dispositivo",)
    list_per_page = 50
    nothing = gettext_lazy("Nada foi incluído, alterado nem excluído ainda.")
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
        """Return the changes with their devices."""
        return super().get_queryset(request).select_related(*self.list_select_related)

    def page_device(self, request: HttpRequest, object_id: str | None) -> Dispositivo | None:
        """Return the device that was changed."""
        change = self.get_object(request, unquote(object_id)) if object_id else None
        return change.dispositivo if change else None

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Return the list, with all that its lines refer to looked up at once."""
        changelist = super().get_changelist_instance(request)
        name_references(changelist.result_list)
        return changelist

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return one change, with the names of what it refers to."""
        change = super().get_object(request, object_id, from_field)
        name_references([change] if change else [])
        return change

    @admin.display(description=gettext_lazy("data e hora"), ordering="id")
    def when(self, change: AuditoriaMedicao) -> str:
        """Show when it was changed, in the Conta's time."""
        return clock_with_zone(change.em, change.dispositivo.conta.zone)

    @admin.display(description=gettext_lazy("quem"), ordering="usuario")
    def who(self, change: AuditoriaMedicao) -> str:
        """Show who signed it; a change that nobody signed was made outside these pages."""
        return change.usuario or _("(sem assinatura)")

    @admin.display(description=gettext_lazy("dispositivo"), ordering="dispositivo__codigo")
    def device(self, change: AuditoriaMedicao) -> str:
        """Show the device, its gateway and its Conta."""
        url = reverse("admin:tds_new_dispositivo_change", args=[change.dispositivo_id])
        device = change.dispositivo
        return format_html(
            '<a href="{}">{}</a><br><span class="quiet">{} · {}</span>',
            url,
            device,
            device.gateway.codigo,
            device.conta,
        )

    @admin.display(description=gettext_lazy("o quê"), ordering="tabela")
    def what(self, change: AuditoriaMedicao) -> str:
        """Show the kind of entry, and what was done to it."""
        return format_html("{}<br>{}", change.get_tabela_display(), change.get_acao_display())

    @admin.display(description=gettext_lazy("antes e depois"))
    def changes(self, change: AuditoriaMedicao) -> str:
        """Show a line for each changed field, or each field of a new or deleted entry."""
        lines = [
            (_label(change, name), " → ".join(_readable(change, name, value) for value in values))
            for name, values in _told(change)
        ]
        return format_html_join("", "<div>{}: {}</div>", lines) or MISSING

    @admin.display(description=gettext_lazy("motivo"))
    def why(self, change: AuditoriaMedicao) -> str:
        """Show the reason given."""
        return labelled(_("motivo"), change.motivo or MISSING)


def name_references(changes: Iterable[AuditoriaMedicao]) -> None:
    """Give each change the names of what it refers to, in one statement for each kind.

    The names are kept in ``change.names``, by column and id.
    """
    sides = [side for change in changes for side in (change.antes, change.depois) if side]
    names: dict[tuple[str, int], str] = {}
    for column, model in REFERENCES.items():
        if ids := {side[column] for side in sides if side.get(column) is not None}:
            names |= {(column, one.pk): str(one) for one in model._default_manager.filter(pk__in=ids)}
    for change in changes:
        change.names = names  # type: ignore[attr-defined]


def _fields(change: AuditoriaMedicao) -> dict[str, Any]:
    """Return the fields of the changed entry, by column; none if the table is gone."""
    model = MODELS.get(change.tabela)
    return {field.attname: field for field in model._meta.concrete_fields} if model else {}


def _told(change: AuditoriaMedicao) -> Iterator[tuple[str, list[Any]]]:
    """Yield the columns worth showing, with their values.

    A changed entry gives both values of a column that differs; a created or deleted one gives its only value
    if that says something.
    """
    sides = [side for side in (change.antes, change.depois) if side is not None]
    for name in dict.fromkeys([*_fields(change), *(name for side in sides for name in side)]):
        values = [side.get(name) for side in sides]
        differs = (
            values[0] != values[-1] if len(values) > 1 else name != "motivo" and values[0] not in (None, "")
        )
        if differs and name not in UNSAID:
            yield name, values


def _label(change: AuditoriaMedicao, name: str) -> str:
    """Return what people call the column; of a final month, its consumption."""
    if change.tabela == AuditoriaMedicao.Tabela.CONSUMO and change.depois:
        year, _dash, month = change.depois["mes"].partition("-")
        return _("Consumo de %(month)s/%(year)s") % {"month": month, "year": year}
    field = _fields(change).get(name)
    label = str(field.verbose_name) if field else name
    return label[:1].upper() + label[1:]


def _readable(change: AuditoriaMedicao, name: str, value: Any) -> str:
    """Return a value of the trail as people read it."""
    if value is None or value == "":
        return MISSING
    if name in REFERENCES:
        return str(change.names.get((name, value), value))  # type: ignore[attr-defined]
    if name == "classe":
        return str(dict(OcorrenciaMedicao.Classe.choices).get(value, value))
    if change.tabela == AuditoriaMedicao.Tabela.CONSUMO:
        device = change.dispositivo
        return register_with_unit(Decimal(value), device.unidade_consumo or device.unidade)
    field = _fields(change).get(name)
    if field is not None and field.choices:
        return str(dict(field.flatchoices).get(value, value))
    if isinstance(field, DateTimeField):
        return clock(datetime.fromisoformat(value), change.dispositivo.conta.zone)
    return register(Decimal(str(value))) if isinstance(value, int | float) else str(value)
