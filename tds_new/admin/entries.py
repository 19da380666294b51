"""The base of the pages on which people make entries about a meter.

Entries are made from the page of one device, in its Conta's time.
"""

from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db import models, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils.html import format_html
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tds_new.admin.base import LocalTimeAdmin, ReasonForm, SignedAdmin, WideListAdmin
from tds_new.admin.fields import NumberField
from tds_new.formats import clock_with_zone, offset
from tds_new.models import Dispositivo
from tds_new.models.registro import Registro
from tds_new.storage.audit import sign

if TYPE_CHECKING:
    RegistroModelForm = forms.ModelForm[Registro]
else:
    RegistroModelForm = forms.ModelForm

NUMBERS: dict[Any, Any] = {models.DecimalField: {"form_class": NumberField}}
PARAMETERS = ("fator_conversao", "valor_maximo_registro", "consumo_maximo_hora", "tolerancia_queda")
UNITS = {
    "leitura_final": "{}",
    "leitura_inicial": "{}",
    "valor_maximo_registro": "{}",
    "consumo_maximo_hora": "{}/h",
    "tolerancia_queda": "{}",
}


class ToleranceOptional:
    """Lets a form's tolerance be empty, which means that no dip is tolerated."""

    fields: dict[str, forms.Field]
    cleaned_data: dict[str, Any]

    def allow_empty_tolerance(self) -> None:
        """Let the field be left empty; a read-only page does not have it."""
        if "tolerancia_queda" in self.fields:
            self.fields["tolerancia_queda"].required = False

    def clean_tolerancia_queda(self) -> Decimal:
        """Return zero for an empty tolerance."""
        return self.cleaned_data["tolerancia_queda"] or Decimal(0)


def say_units(fields: dict[str, forms.Field], unit: str) -> None:
    """Put the unit of the register before the help text of each number's field."""
    for name, pattern in UNITS.items():
        if name in fields:
            said = _("Em %(unit)s.") % {"unit": pattern.format(unit)}
            fields[name].help_text = f"{said} {fields[name].help_text}".strip()


class RegistroForm(RegistroModelForm):
    """An entry about ``device``, which the page sets."""

    device: ClassVar[Dispositivo | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Ask for the reason, name the zone and the units."""
        super().__init__(*args, **kwargs)
        if self.device is None:
            return
        if self.instance.dispositivo_id is None:
            self.instance.dispositivo = self.device
        if "motivo" in self.fields:
            self.fields["motivo"].required = True
            self.fields["motivo"].help_text = _("Por que isto é registrado; fica na auditoria.")
        if self.instance.moment_field in self.fields:
            conta = self.device.conta
            text = _("Na hora da conta: %(zone)s, hoje %(offset)s.") % {
                "zone": conta.timezone,
                "offset": offset(now(), conta.zone),
            }
            field = self.fields[self.instance.moment_field]
            field.help_text = f"{text} {field.help_text}".strip()
        say_units(self.fields, self.device.unidade)

    def add_error(self, field: str | None, error: Any) -> None:
        """Show the model's error on a read-only field above the form."""
        if field is None and hasattr(error, "error_dict"):
            for name, errors in error.error_dict.items():
                super().add_error(name if name in self.fields else None, errors)
        else:
            super().add_error(field, error)


class RegistroAdmin(WideListAdmin, LocalTimeAdmin, SignedAdmin):
    """The pages of one kind of entry."""

    form = RegistroForm
    delete_confirmation_template = "admin/tds_new/entry/delete.html"
    formfield_overrides = NUMBERS
    list_select_related = ("dispositivo__gateway", "dispositivo__conta", "registrado_por")
    linked_by = ("dispositivo",)
    list_per_page = 50
    nothing = gettext_lazy("Nada foi registrado ainda; o botão para registrar está na página do dispositivo.")
    show_full_result_count = False
    search_fields = (
        "dispositivo__codigo",
        "dispositivo__nome",
        "dispositivo__gateway__codigo",
        "dispositivo__gateway__mac",
        "dispositivo__conta__name",
    )

    def page_device(self, request: HttpRequest, object_id: str | None) -> Dispositivo | None:
        """Return the entry's device; of a new entry, that in ``?dispositivo=``."""
        if object_id is not None:
            entry = self.get_object(request, unquote(object_id))
            return entry.dispositivo if entry else None
        chosen = request.GET.get("dispositivo") or request.POST.get("dispositivo") or ""
        if not (chosen.isascii() and chosen.isdecimal() and len(chosen) < 19):
            return None
        return Dispositivo.objects.select_related("gateway", "conta").filter(pk=chosen).first()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the entries with their devices."""
        return super().get_queryset(request).select_related(*self.list_select_related)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Show the page for a new entry; without a device, go to the list of devices."""
        if self.has_add_permission(request) and self.page_device(request, None) is None:
            text = _("Abra o dispositivo: na página dele está o botão para registrar “%(what)s”.")
            self.message_user(request, text % {"what": self.opts.verbose_name}, messages.WARNING)
            return HttpResponseRedirect(reverse("admin:tds_new_dispositivo_changelist"))
        return super().add_view(
            request, form_url, {**(extra_context or {}), "show_save_and_add_another": False}
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show the page of one entry. Another is added on its device's page."""
        return super().change_view(
            request, object_id, form_url, {**(extra_context or {}), "show_save_and_add_another": False}
        )

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields; those that the platform fills only once it is stored."""
        return [
            name for name in super().get_fields(request, obj) if obj or name not in ("registered", "evidence")
        ]

    def response_post_save_add(self, request: HttpRequest, obj: Any) -> HttpResponseRedirect:
        """Go back to the device, which shows the entry."""
        if not request.user.has_perm("tds_new.view_dispositivo"):
            return super().response_post_save_add(request, obj)
        return HttpResponseRedirect(reverse("admin:tds_new_dispositivo_change", args=[obj.dispositivo_id]))

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Return the form, for its device."""
        form = super().get_form(request, obj, change, **kwargs)
        return type(
            form.__name__, (form,), {"device": obj.dispositivo if obj else self.page_device(request, None)}
        )

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Store the entry, signed; who stores it first is its author."""
        if not change:
            obj.registrado_por = request.user
        super().save_model(request, obj, form, change)

    def get_actions(self, request: HttpRequest) -> Any:
        """Return the actions without "delete selected": each deletion needs its reason."""
        return {
            name: action for name, action in super().get_actions(request).items() if name != "delete_selected"
        }

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Ask for the reason, and delete once it is given."""
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if form.is_bound and not form.is_valid():
            request.POST = QueryDict()  # not confirmed yet: the page again, with what is missing
        return super().delete_view(request, object_id, {**(extra_context or {}), "form": form})

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete the entry, signed, with the reason."""
        with transaction.atomic():
            sign(request.user, request.POST["motivo"].strip())
            obj.delete()

    @admin.display(description=gettext_lazy("medidor"))
    def meter(self, entry: Registro) -> str:
        """Show the device, with its gateway and Conta."""
        device = entry.dispositivo
        url = reverse("admin:tds_new_dispositivo_change", args=[device.pk])
        return format_html(
            '<a href="{}">{}</a> · {} · {} ({})', url, device, device.gateway, device.conta, device.unidade
        )

    @admin.display(description=gettext_lazy("gateway"), ordering="dispositivo__gateway__codigo")
    def gateway(self, entry: Registro) -> str:
        """Show the device's gateway."""
        return entry.dispositivo.gateway.codigo

    @admin.display(description=gettext_lazy("conta"), ordering="dispositivo__conta__name")
    def conta(self, entry: Registro) -> str:
        """Show the device's Conta."""
        return str(entry.dispositivo.conta)

    @admin.display(description=gettext_lazy("registrado"))
    def registered(self, entry: Registro) -> str:
        """Show who entered it, and when."""
        when = clock_with_zone(entry.registrado_em, entry.dispositivo.conta.zone)
        return f"{entry.registrado_por}, {when}" if entry.registrado_por else when

    def _moment(self, entry: Registro) -> str:
        return clock_with_zone(getattr(entry, entry.moment_field), entry.dispositivo.conta.zone)
