"""The entries of people about a meter: changes, dated parameters, decisions.

They are made from the page of one device, in its Conta's time.
"""

from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import ValidationError
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
from tds_new.admin.filters import ContaWithRowsFilter, by_date
from tds_new.formats import clock, clock_with_zone, offset, register, register_with_unit
from tds_new.metering.preview import Preview, may_be_approved, preview_after_change
from tds_new.models import Dispositivo, OcorrenciaMedicao, RevisaoLeitura, TrocaMedidor, VigenciaParametros
from tds_new.models.registro import Registro
from tds_new.models.vigencia import parameters_in_force
from tds_new.queries.neighbours import reading_within_second
from tds_new.storage.audit import sign

if TYPE_CHECKING:
    RegistroModelForm = forms.ModelForm[Registro]
else:
    RegistroModelForm = forms.ModelForm

NUMBERS: dict[Any, Any] = {models.DecimalField: {"form_class": NumberField}}
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


@admin.register(TrocaMedidor)
class TrocaMedidorAdmin(RegistroAdmin):
    """Meter changes."""

    list_display = ("when", "dispositivo", "gateway", "conta", "final", "initial", "motivo", "registrado_por")
    list_filter = (
        ("ocorrida_em", by_date(gettext_lazy("data da troca"))),
        ContaWithRowsFilter,
        "dispositivo__grandeza",
    )
    fields = ("meter", "ocorrida_em", "leitura_final", "leitura_inicial", "motivo", "registered")
    readonly_fields = ("meter", "registered")

    @admin.display(description=gettext_lazy("ocorrida em"), ordering="ocorrida_em")
    def when(self, entry: TrocaMedidor) -> str:
        """Show when the meter was changed, in the Conta's time."""
        return self._moment(entry)

    @admin.display(description=gettext_lazy("leitura final"), ordering="leitura_final")
    def final(self, entry: TrocaMedidor) -> str:
        """Show the old meter's last value."""
        return register_with_unit(entry.leitura_final, entry.dispositivo.unidade)

    @admin.display(description=gettext_lazy("leitura inicial"), ordering="leitura_inicial")
    def initial(self, entry: TrocaMedidor) -> str:
        """Show the new meter's first value."""
        return register_with_unit(entry.leitura_inicial, entry.dispositivo.unidade)

    def save_model(self, request: HttpRequest, obj: TrocaMedidor, form: Any, change: bool) -> None:
        """Store, and warn where the values do not fit the readings around them."""
        super().save_model(request, obj, form, change)
        for text in misfits(obj):
            self.message_user(request, text, messages.WARNING)


def misfits(change: TrocaMedidor) -> list[str]:
    """Return warnings where a meter change does not fit the readings beside it.

    Also warn if the ledger will not accept the reading after it.
    """
    device = change.dispositivo
    base, after, judged = preview_after_change(device.pk, change.ocorrida_em)
    zone, unit, found = device.conta.zone, device.unidade, list[str]()
    if base and base.value > change.leitura_final:
        text = _("A leitura final é menor que a leitura anterior à troca (%(value)s em %(when)s): confira.")
        value, when = register_with_unit(base.value, unit), clock_with_zone(base.time, zone)
        found.append(text % {"value": value, "when": when})
    if after and after.value < change.leitura_inicial:
        text = _(
            "A leitura inicial é maior que a leitura posterior à troca (%(value)s em %(when)s): confira."
        )
        value, when = register_with_unit(after.value, unit), clock_with_zone(after.time, zone)
        found.append(text % {"value": value, "when": when})
    if judged and judged.now is None:
        found.append(_not_accepted(device, judged))
    return found


def _not_accepted(device: Dispositivo, judged: Preview) -> str:
    """Return why the reading is not accepted: too little was counted, or too much."""
    if judged.amount < 0:
        text = _(
            "Com a troca o consumo de %(start)s a %(end)s é %(amount)s: a leitura de %(end)s fica suspeita."
        )
    else:
        text = _(
            "Com a troca o consumo de %(start)s a %(end)s é %(amount)s, e o máximo plausível é %(limit)s: "
            "a leitura de %(end)s fica suspeita."
        )
    return text % {
        "start": clock(judged.base.time, device.conta.zone),
        "end": clock(judged.reading.time, device.conta.zone),
        "amount": register_with_unit(judged.amount, device.unidade),
        "limit": register_with_unit(judged.limit, device.unidade),
    }


class VigenciaForm(ToleranceOptional, RegistroForm):
    """Dated parameters."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Let the tolerance be left empty."""
        super().__init__(*args, **kwargs)
        self.allow_empty_tolerance()


PARAMETERS = ("fator_conversao", "valor_maximo_registro", "consumo_maximo_hora", "tolerancia_queda")


@admin.register(VigenciaParametros)
class VigenciaParametrosAdmin(RegistroAdmin):
    """Parameters from a moment on."""

    form = VigenciaForm
    list_display = (
        "since",
        "dispositivo",
        "gateway",
        "conta",
        "factor",
        "capacity",
        "maximum",
        "tolerance",
        "motivo",
        "registrado_por",
    )
    list_filter = (
        ("desde", by_date(gettext_lazy("data de início"))),
        ContaWithRowsFilter,
        "dispositivo__grandeza",
    )
    ordering = ("-desde",)
    fields = ("meter", "desde", *PARAMETERS, "motivo", "registered")
    readonly_fields = ("meter", "registered")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Suggest what is in force now: all four are set, and mostly one of them changes."""
        device = self.page_device(request, None)
        given: dict[str, Any] = {**super().get_changeform_initial_data(request)}
        in_force = parameters_in_force(device, now()) if device else None
        return {**{name: getattr(in_force, name) for name in PARAMETERS}, **given} if in_force else given

    @admin.display(description=gettext_lazy("desde"), ordering="desde")
    def since(self, entry: VigenciaParametros) -> str:
        """Show from when on they hold, in the Conta's time."""
        return self._moment(entry)

    @admin.display(description=gettext_lazy("fator"), ordering="fator_conversao")
    def factor(self, entry: VigenciaParametros) -> str:
        """Show the CT/PT constant."""
        return f"× {register(entry.fator_conversao)}"

    @admin.display(description=gettext_lazy("máximo do registrador"), ordering="valor_maximo_registro")
    def capacity(self, entry: VigenciaParametros) -> str:
        """Show where the register returns to zero."""
        return register_with_unit(entry.valor_maximo_registro, entry.dispositivo.unidade)

    @admin.display(description=gettext_lazy("máximo por hora"), ordering="consumo_maximo_hora")
    def maximum(self, entry: VigenciaParametros) -> str:
        """Show the largest plausible consumption per hour."""
        return register_with_unit(entry.consumo_maximo_hora, f"{entry.dispositivo.unidade}/h")

    @admin.display(description=gettext_lazy("tolerância"), ordering="tolerancia_queda")
    def tolerance(self, entry: VigenciaParametros) -> str:
        """Show how far the register may dip."""
        return register_with_unit(entry.tolerancia_queda, entry.dispositivo.unidade)


class RevisaoForm(RegistroForm):
    """A decision on one reading."""

    def clean_leitura_em(self) -> Any:
        """Return the reading's exact time: people write whole seconds."""
        second = self.cleaned_data["leitura_em"]
        exact = reading_within_second(self.device, second) if self.device else None
        if exact is None:
            raise ValidationError(_("Este dispositivo não tem leitura nesse instante."))
        return exact

    def clean_decisao(self) -> str:
        """Refuse to approve a reading that is accepted already."""
        decision, moment = str(self.cleaned_data["decisao"]), self.cleaned_data.get("leitura_em")
        if decision == RevisaoLeitura.Decisao.APROVADA and moment is not None:
            found = OcorrenciaMedicao.objects.filter(dispositivo=self.device, leitura_em=moment).first()
            if found is None or not may_be_approved(found.classe):
                raise ValidationError(
                    _(
                        "Só se aprova uma leitura suspeita ou um salto implausível; "
                        "esta leitura não é nem um nem outro."
                    )
                )
        return decision


@admin.register(RevisaoLeitura)
class RevisaoLeituraAdmin(RegistroAdmin):
    """Decisions on readings. To change one, delete it and decide again."""

    form = RevisaoForm
    list_display = (
        "reading",
        "dispositivo",
        "gateway",
        "conta",
        "value",
        "decisao",
        "seen_as",
        "motivo",
        "registrado_por",
    )
    list_filter = ("decisao", ("leitura_em", by_date(gettext_lazy("data da leitura"))), ContaWithRowsFilter)
    fields = ("meter", "leitura_em", "decisao", "motivo", "evidence", "registered")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return all fields of a stored decision but the reason, which may be edited."""
        return ("meter", "evidence", "registered") + (("leitura_em", "decisao") if obj else ())

    @admin.display(description=gettext_lazy("leitura de"), ordering="leitura_em")
    def reading(self, entry: RevisaoLeitura) -> str:
        """Show the reading's time, in the Conta's time."""
        return self._moment(entry)

    @admin.display(description=gettext_lazy("valor"), ordering="valor")
    def value(self, entry: RevisaoLeitura) -> str:
        """Show the reading's value."""
        return register_with_unit(entry.valor, entry.dispositivo.unidade)

    @admin.display(description=gettext_lazy("classe na decisão"), ordering="classe")
    def seen_as(self, entry: RevisaoLeitura) -> str:
        """Show the ledger's class of the reading when it was decided on."""
        return str(OcorrenciaMedicao.Classe(entry.classe).label) if entry.classe else ""

    @admin.display(description=gettext_lazy("decidida sobre"))
    def evidence(self, entry: RevisaoLeitura) -> str:
        """Show the evidence of the decision."""
        if entry.valor is None:
            return _("Sem leitura guardada com a decisão.")
        said = [self.value(entry), self.seen_as(entry)]
        if entry.inicio:
            base, when = (
                register_with_unit(entry.valor_base, entry.dispositivo.unidade),
                clock(entry.inicio, entry.dispositivo.conta.zone),
            )
            said.append(_("base %(value)s (%(when)s)") % {"value": base, "when": when})
        return " · ".join(filter(None, said))
