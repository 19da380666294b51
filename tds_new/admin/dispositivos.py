"""Devices: each belongs to a gateway, and through it to a Conta."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from tds_new.admin.base import LocalTimeAdmin, ProtectedDeletionAdmin
from tds_new.admin.formatos import clock_with_zone, number, quantity
from tds_new.admin.medicao import NUMBERS, ToleranceOptional, say_units
from tds_new.models import Dispositivo, Gateway, LeituraEmRevisao, TrocaMedidor, VigenciaParametros

LATEST = 5  # entries of each kind on a device's page; all are in their lists

if TYPE_CHECKING:
    DispositivoModelForm = forms.ModelForm[Dispositivo]
else:
    DispositivoModelForm = forms.ModelForm


class DispositivoForm(ToleranceOptional, DispositivoModelForm):
    """A device; the model refuses one too many for its gateway."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Let the tolerance be left empty, and name the unit where it is known."""
        super().__init__(*args, **kwargs)
        self.allow_empty_tolerance()
        if self.instance.pk:
            say_units(self.fields, self.instance.unidade)

    def clean(self) -> dict[str, Any] | None:
        """Wait for others who add devices to this gateway, so that the model's count below is the one that will hold."""
        cleaned = super().clean()
        gateway = self.cleaned_data.get("gateway")
        if gateway:
            Gateway.objects.select_for_update(no_key=True).filter(pk=gateway.pk).first()
        return cleaned


@admin.register(Dispositivo)
class DispositivoAdmin(LocalTimeAdmin, ProtectedDeletionAdmin):
    """Devices of all Contas, each with what people entered about its meter."""

    form = DispositivoForm
    formfield_overrides = NUMBERS
    list_display = ("codigo", "nome", "gateway", "conta", "grandeza", "unidade", "tipo_leitura", "status", "last_seen")
    list_filter = ("status", "grandeza", "tipo_leitura", "tipo")
    list_select_related = ("gateway", "conta")
    search_fields = ("codigo", "nome", "gateway__codigo", "gateway__mac", "conta__name")
    autocomplete_fields = ("gateway",)
    readonly_fields = ("conta", "last_seen", "created_at")
    fieldsets = (
        (None, {"fields": ("gateway", "conta", "codigo", "nome", "status")}),
        (_("Medição"), {"fields": ("tipo", "grandeza", "unidade", "tipo_leitura")}),
        (_("Parâmetros"), {"fields": ("fator_conversao", "valor_maximo_registro", "consumo_maximo_hora", "tolerancia_queda")}),
        (_("Modbus"), {"fields": ("slave_id", "register_modbus")}),
        (_("Estado"), {"fields": ("last_seen", "created_at")}),
    )

    def page_device(self, request: HttpRequest, object_id: str | None) -> Dispositivo | None:
        """The device itself."""
        return self.get_object(request, unquote(object_id)) if object_id else None

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """The device, with the latest meter changes and dated parameters, and how many of its readings wait for a decision."""
        device = self.page_device(request, object_id)
        meter = meter_history(request, device) if device else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **meter})


def meter_history(request: HttpRequest, device: Dispositivo) -> dict[str, Any]:
    """What the page of ``device`` says of its meter, as far as the person may see it."""
    zone, unit = device.conta.zone, device.unidade
    context: dict[str, Any] = {"device": device}
    if request.user.has_perm("tds_new.view_trocamedidor"):
        context["trocas"] = [
            (t.pk, clock_with_zone(t.ocorrida_em, zone), quantity(t.leitura_final, unit), quantity(t.leitura_inicial, unit), t.motivo)
            for t in TrocaMedidor.objects.filter(dispositivo=device)[:LATEST]
        ]
    if request.user.has_perm("tds_new.view_vigenciaparametros"):
        context["vigencias"] = [
            (
                *(v.pk, clock_with_zone(v.desde, zone), f"× {number(v.fator_conversao)}", quantity(v.valor_maximo_registro, unit)),
                *(quantity(v.consumo_maximo_hora, f"{unit}/h"), quantity(v.tolerancia_queda, unit), v.motivo),
            )
            for v in VigenciaParametros.objects.filter(dispositivo=device).order_by("-desde")[:LATEST]
        ]
    if request.user.has_perm("tds_new.view_leituraemrevisao"):
        context["em_espera"] = LeituraEmRevisao.objects.filter(dispositivo=device, espera=True).count()
    return context
