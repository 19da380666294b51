"""Devices: each belongs to a gateway, and through it to a Conta."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from tds_new.admin.base import ProtectedDeletionAdmin
from tds_new.models import Dispositivo, Gateway

if TYPE_CHECKING:
    DispositivoModelForm = forms.ModelForm[Dispositivo]
else:
    DispositivoModelForm = forms.ModelForm


class DispositivoForm(DispositivoModelForm):
    """A device; the model refuses one too many for its gateway."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Let the tolerance be left empty."""
        super().__init__(*args, **kwargs)
        if "tolerancia_queda" in self.fields:  # not where the page is only looked at
            self.fields["tolerancia_queda"].required = False

    def clean_tolerancia_queda(self) -> Decimal:
        """Nothing means that no dip is tolerated."""
        return self.cleaned_data["tolerancia_queda"] or Decimal(0)

    def clean(self) -> dict[str, Any] | None:
        """Wait for others who add devices to this gateway, so that the model's count below is the one that will hold."""
        cleaned = super().clean()
        gateway = self.cleaned_data.get("gateway")
        if gateway:
            Gateway.objects.select_for_update(no_key=True).filter(pk=gateway.pk).first()
        return cleaned


@admin.register(Dispositivo)
class DispositivoAdmin(ProtectedDeletionAdmin):
    """Devices of all Contas."""

    form = DispositivoForm
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
