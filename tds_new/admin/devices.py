"""The devices; each belongs to a gateway, and through it to a Conta."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tds_new.admin.base import LocalTimeAdmin, ProtectedDeletionAdmin, ReasonedForm, WideListAdmin, labelled
from tds_new.admin.entries import NUMBERS, PARAMETERS, ToleranceOptional, say_units
from tds_new.formats import clock_with_zone, date_text, register, register_with_unit
from tds_new.models import (
    ConsumoBloco,
    ConsumoCongelado,
    Dispositivo,
    Gateway,
    LeituraEmRevisao,
    TrocaMedidor,
    VigenciaParametros,
)
from tds_new.queries.dips import dips_by_day

LATEST = 5  # entries of each kind on a device's page; all are in their lists


class DispositivoForm(ToleranceOptional, ReasonedForm):
    """A device. Its parameters hold for all of its past, so a change needs a reason.

    The model refuses a device too many for its gateway.
    """

    reasoned = PARAMETERS

    def has_figures(self) -> bool:
        """Return whether there are readings, or blocks of readings that were dropped."""
        return super().has_figures() or ConsumoBloco.objects.filter(dispositivo=self.instance.pk).exists()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Let the tolerance be left empty, and name the unit if it is known."""
        super().__init__(*args, **kwargs)
        self.allow_empty_tolerance()
        if self.instance.pk:
            say_units(self.fields, self.instance.unidade)

    def clean(self) -> dict[str, Any] | None:
        """Wait for others who add devices to this gateway.

        So the model's count of its devices is the one that will hold.
        """
        cleaned = super().clean()
        gateway = self.cleaned_data.get("gateway")
        if gateway:
            Gateway.objects.select_for_update(no_key=True).filter(pk=gateway.pk).first()
        return cleaned


@admin.register(Dispositivo)
class DispositivoAdmin(WideListAdmin, LocalTimeAdmin, ProtectedDeletionAdmin):
    """Devices of all Contas, each with what people entered about its meter."""

    form = DispositivoForm
    formfield_overrides = NUMBERS
    list_display = ("codigo", "nome", "place", "measures", "status", "seen")
    list_filter = ("status", "grandeza", "tipo_leitura", "tipo")
    list_select_related = ("gateway", "conta")
    search_fields = ("codigo", "nome", "gateway__codigo", "gateway__mac", "conta__name")
    autocomplete_fields = ("gateway",)
    readonly_fields = ("conta", "last_seen", "created_at")

    def get_fieldsets(self, request: HttpRequest, obj: Dispositivo | None = None) -> Any:
        """Return the fields; of a stored device, also when its parameters hold.

        The reason field is there for people who may change them.
        """
        parameters: dict[str, Any] = {"fields": PARAMETERS}
        if obj is not None:
            asked = ("motivo",) if self.has_change_permission(request, obj) else ()
            parameters = {"fields": PARAMETERS + asked, "description": validity(request, obj)}
        return (
            (None, {"fields": ("gateway", "conta", "codigo", "nome", "status")}),
            (gettext_lazy("Medição"), {"fields": ("tipo", "grandeza", "unidade", "tipo_leitura")}),
            (gettext_lazy("Parâmetros"), parameters),
            (gettext_lazy("Modbus"), {"fields": ("slave_id", "register_modbus")}),
            (gettext_lazy("Estado"), {"fields": ("last_seen", "created_at")}),
        )

    @admin.display(description=gettext_lazy("gateway e conta"), ordering="gateway__codigo")
    def place(self, device: Dispositivo) -> str:
        """Show the gateway by its code, and the Conta."""
        return format_html('{}<br><span class="quiet">{}</span>', device.gateway.codigo, device.conta)

    @admin.display(description=gettext_lazy("medição"), ordering="grandeza")
    def measures(self, device: Dispositivo) -> str:
        """Show what it measures, in what unit, and how that is read."""
        kind = device.get_tipo_leitura_display()
        return format_html(
            '{} ({})<br><span class="quiet">{}</span>', device.get_grandeza_display(), device.unidade, kind
        )

    @admin.display(description=gettext_lazy("última leitura"), ordering="last_seen")
    def seen(self, device: Dispositivo) -> str:
        """Show the meter's time of the latest reading, in the Conta's time."""
        return labelled(_("última leitura"), clock_with_zone(device.last_seen, device.conta.zone))

    def page_device(self, request: HttpRequest, object_id: str | None) -> Dispositivo | None:
        """Return the device itself."""
        return self.get_object(request, unquote(object_id)) if object_id else None

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show the device, with the latest of what people entered about its meter.

        The page also says how many of its readings wait for a decision.
        """
        device = self.page_device(request, object_id)
        meter = meter_history(request, device) if device else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **meter})

    def save_model(self, request: HttpRequest, obj: Dispositivo, form: Any, change: bool) -> None:
        """Store, and say what is computed again."""
        super().save_model(request, obj, form, change)
        if form.recomputed:
            soon = _("Tudo isso é recalculado em segundos.")
            self.message_user(request, f"{_held_until(obj)} {soon}", messages.WARNING)


def _held_until(device: Dispositivo) -> str:
    """Return when the device's own parameters hold, in words."""
    first = VigenciaParametros.objects.filter(dispositivo=device.pk).order_by("desde").first()
    if first is None:
        return _("Os parâmetros do dispositivo valem para toda a sua história.")
    return _("Os parâmetros do dispositivo valem do começo até %(until)s, a primeira mudança com data.") % {
        "until": clock_with_zone(first.desde, device.conta.zone)
    }


def validity(request: HttpRequest, device: Dispositivo) -> str:
    """Return the effect of a change of a device's own parameters, in words.

    The text also says how to change them from a date on instead.
    """
    sentences = [
        _held_until(device),
        _("Mudar um deles muda o consumo de todo esse tempo, também o de meses passados."),
    ]
    frozen = ConsumoCongelado.objects.first()
    if frozen is not None:
        sentences.append(
            _("Fica como está só o que é de antes de %(until)s, que está fechado.")
            % {"until": clock_with_zone(frozen.ate, device.conta.zone)}
        )
    instead = _("Para mudar a partir de uma data, registre uma vigência.")
    if not request.user.has_perm("tds_new.add_vigenciaparametros"):
        return format_html("{} {}", " ".join(sentences), instead)
    url = f"{reverse('admin:tds_new_vigenciaparametros_add')}?dispositivo={device.pk}"
    return format_html('{} <a href="{}">{}</a>', " ".join(sentences), url, instead)


def meter_history(request: HttpRequest, device: Dispositivo) -> dict[str, Any]:
    """Return what the page of ``device`` shows of its meter to this person."""
    zone, unit = device.conta.zone, device.unidade
    context: dict[str, Any] = {"device": device}
    if request.user.has_perm("tds_new.view_trocamedidor"):
        context["meter_changes"] = [
            (
                t.pk,
                clock_with_zone(t.ocorrida_em, zone),
                register_with_unit(t.leitura_final, unit),
                register_with_unit(t.leitura_inicial, unit),
                t.motivo,
            )
            for t in TrocaMedidor.objects.filter(dispositivo=device)[:LATEST]
        ]
    if request.user.has_perm("tds_new.view_vigenciaparametros"):
        context["parameter_periods"] = [
            (
                *(
                    v.pk,
                    clock_with_zone(v.desde, zone),
                    f"× {register(v.fator_conversao)}",
                    register_with_unit(v.valor_maximo_registro, unit),
                ),
                *(
                    register_with_unit(v.consumo_maximo_hora, f"{unit}/h"),
                    register_with_unit(v.tolerancia_queda, unit),
                    v.motivo,
                ),
            )
            for v in VigenciaParametros.objects.filter(dispositivo=device).order_by("-desde")[:LATEST]
        ]
    if request.user.has_perm("tds_new.view_leituraemrevisao"):
        context["waiting"] = LeituraEmRevisao.objects.filter(dispositivo=device, espera=True).count()
        context["dips"] = [
            (date_text(day.day), day.dips, register_with_unit(day.largest, unit))
            for day in dips_by_day(device)
        ]
    return context
