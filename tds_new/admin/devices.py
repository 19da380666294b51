"""The devices; each belongs to a gateway, and through it to a Conta."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tds_new.admin.base import LocalTimeAdmin, ProtectedDeletionAdmin, WideListAdmin, labelled
from tds_new.admin.device_form import DispositivoForm
from tds_new.admin.entries import NUMBERS
from tds_new.admin.structure import STRUCTURE, change_in_words, counts_as, main_meters, tree_context
from tds_new.formats import clock_with_zone, date_text, register, register_with_unit
from tds_new.models import (
    ConsumoCongelado,
    Dispositivo,
    LeituraEmRevisao,
    TrocaMedidor,
    VigenciaParametros,
)
from tds_new.queries.dips import dips_by_day
from tds_new.queries.edition import Edition, first_edition
from tds_new.units import canonical_unit

MEASURED = ("tipo", "grandeza", "unidade", "unidade_consumo", "tipo_leitura", "carimbo")
LATEST = 5  # entries of each kind on a device's page; all are in their lists


@admin.register(Dispositivo)
class DispositivoAdmin(WideListAdmin, LocalTimeAdmin, ProtectedDeletionAdmin):
    """Devices of all Contas, each with what people entered about its meter."""

    form = DispositivoForm
    formfield_overrides = NUMBERS
    list_display = ("codigo", "nome", "place", "measures", "status", "seen")
    list_filter = ("status", "grandeza", "papel", "tipo_leitura", "tipo")
    list_select_related = ("gateway", "conta")
    search_fields = ("codigo", "nome", "gateway__codigo", "gateway__mac", "conta__name")
    autocomplete_fields = ("gateway",)
    readonly_fields = ("conta", "last_seen", "created_at", "rules")

    def get_fieldsets(self, request: HttpRequest, obj: Dispositivo | None = None) -> Any:
        """Return the fields; of a stored device, also when its parameters hold.

        The reason field is there for people who may change them.
        """
        fields: tuple[str, ...] = ("fator_conversao", "valor_maximo_registro", "consumo_maximo_hora")
        may_change = obj is None or self.has_change_permission(request, obj)
        fields += (("sem_limite",) if may_change else ()) + ("tolerancia_queda",)
        parameters: dict[str, Any] = {"fields": fields}
        if obj is not None:
            asked = ("motivo",) if may_change else ()
            parameters = {"fields": fields + asked, "description": validity(request, obj)}
        return (
            (None, {"fields": ("gateway", "conta", "codigo", "nome", "status")}),
            (gettext_lazy("Medição"), {"fields": MEASURED}),
            (
                gettext_lazy("Lugar nos totais"),
                {"fields": ("papel", "medidor_pai"), "description": counts_as(obj) if obj else ""},
            ),
            (gettext_lazy("Parâmetros"), parameters),
            (gettext_lazy("Modbus"), {"fields": ("slave_id", "register_modbus")}),
            (gettext_lazy("Estado"), {"fields": ("last_seen", "created_at", *(("rules",) if obj else ()))}),
        )

    @admin.display(description=gettext_lazy("regras de medição"))
    def rules(self, device: Dispositivo) -> str:
        """Show from when on the rules of today hold, and what waits for a rebuild."""
        former = first_edition(device.pk)
        return _("As de hoje, desde o começo.") if former is None else _first_edition_words(former, device)

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
        meter = meter_history(request, device) | tree_context(device.conta, device) if device else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **meter})

    def save_model(self, request: HttpRequest, obj: Dispositivo, form: Any, change: bool) -> None:
        """Store, and say what is computed again."""
        super().save_model(request, obj, form, change)
        if canonical_unit(obj.unidade) == "MWh" and "unidade" in form.changed_data:
            text = _("Em MWh o passo mais fino é de 0,1 kWh: o consumo de cada 15 minutos fica grosseiro.")
            self.message_user(request, text, messages.WARNING)
        if change and not set(STRUCTURE).isdisjoint(form.changed_data):
            obj.refresh_from_db()
            self.message_user(request, change_in_words(obj), messages.WARNING)
        if form.recomputed:
            soon = _("Tudo isso é recalculado em segundos.")
            self.message_user(request, f"{_held_until(obj)} {soon}", messages.WARNING)

    def get_urls(self) -> list[Any]:
        """Return the addresses of the pages, and of the search for main meters."""
        search = self.admin_site.admin_view(self.search_main_meters)
        return [path("principais/", search, name="tds_new_dispositivo_main_meters"), *super().get_urls()]

    def search_main_meters(self, request: HttpRequest) -> HttpResponse:
        """Answer the search for the meters that a device may be behind."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return main_meters(request, self.get_queryset(request))


def _held_until(device: Dispositivo) -> str:
    """Return when the device's own parameters hold, in words."""
    first = VigenciaParametros.objects.filter(dispositivo=device.pk).order_by("desde").first()
    if first is None:
        return _("Os parâmetros do dispositivo valem para toda a sua história.")
    return _("Os parâmetros do dispositivo valem do começo até %(until)s, a primeira mudança com data.") % {
        "until": clock_with_zone(first.desde, device.conta.zone)
    }


def _first_edition_words(former: Edition, device: Dispositivo) -> str:
    """Return in words from when on the rules of today hold, and what waits."""
    zone = device.conta.zone
    words = _(
        "As de hoje valem desde %(since)s. O consumo de antes é o da primeira edição, "
        "até que alguém rode rebuild_consumption."
    ) % {"since": clock_with_zone(former.since, zone)}
    if not former.waiting:
        return words
    if former.waiting_since is None:
        waits = _("Uma mudança que vale desde o começo espera por isso.")
        return f"{words} {waits}"
    waits = _("Uma mudança em %(when)s espera por isso.") % {
        "when": clock_with_zone(former.waiting_since, zone)
    }
    return f"{words} {waits}"


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
    former = first_edition(device.pk)
    if former is not None:
        sentences.append(_first_edition_words(former, device))
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
