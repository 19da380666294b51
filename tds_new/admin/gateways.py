"""The gateways with their devices, and how often each was refused."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from tds_new.admin.base import BaseInline, ProtectedDeletionAdmin, ReasonedForm, WideListAdmin
from tds_new.broker.accounts import GatewayAccount
from tds_new.formats import clock_with_zone
from tds_new.models import Dispositivo, Gateway, RejeicaoContador

if TYPE_CHECKING:
    DispositivoModelForm = forms.ModelForm[Dispositivo]
    DispositivoFormSet = forms.BaseInlineFormSet[Dispositivo, Gateway, forms.ModelForm[Dispositivo]]
else:
    DispositivoModelForm = forms.ModelForm
    DispositivoFormSet = forms.BaseInlineFormSet


class GatewayForm(ReasonedForm):
    """A gateway. A change of its interval changes what is measured: it needs a reason."""

    reasoned = ("intervalo_esperado_s",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Say what else the interval does.

        A read-only page does not have the field.
        """
        super().__init__(*args, **kwargs)
        if "intervalo_esperado_s" in self.fields:
            text = gettext(
                "Mudá-lo muda, em toda a história dos seus dispositivos, "
                "o que conta como medido e o que conta como interpolado."
            )
            self.fields[
                "intervalo_esperado_s"
            ].help_text = f"{self.fields['intervalo_esperado_s'].help_text} {text}"
        self.fields["motivo"].help_text = gettext(
            "Obrigatório quando o intervalo muda e já há leituras; fica na auditoria, com o seu nome."
        )

    def clean_qte_max_dispositivos(self) -> int:
        """Refuse a capacity below the number of devices already registered."""
        capacity = int(self.cleaned_data["qte_max_dispositivos"])
        registered = self.instance.dispositivos.count() if self.instance.pk else 0
        if capacity < registered:
            raise ValidationError(_("O gateway já tem %(n)d dispositivos."), params={"n": registered})
        return capacity


class DispositivoRowForm(DispositivoModelForm):
    """A device in the table of its gateway, with inputs so narrow that the row fits."""

    class Meta:
        widgets = {
            "codigo": forms.TextInput(attrs={"size": 10}),
            "nome": forms.TextInput(attrs={"size": 14}),
            "unidade": forms.TextInput(attrs={"size": 5}),
        }


class DevicesWithinCapacity(DispositivoFormSet):
    """The devices of one gateway, counted together: one more may fit, but not two."""

    def clean(self) -> None:
        """Refuse more devices than the gateway holds."""
        super().clean()
        new = sum(1 for form in self.extra_forms if form.has_changed() and form.is_valid())
        # The lock makes another person who adds devices to this gateway wait until these are stored.
        registered = 0
        if self.instance.pk:
            Gateway.objects.select_for_update(no_key=True).filter(pk=self.instance.pk).first()
            registered = self.instance.dispositivos.count()
        if new and registered + new > self.instance.qte_max_dispositivos:
            raise ValidationError(
                _("O gateway comporta %(capacity)d dispositivos; com estes seriam %(n)d."),
                params={"capacity": self.instance.qte_max_dispositivos, "n": registered + new},
            )


class DispositivoInline(BaseInline):
    """The devices of a gateway; everything else of a device is on its own page."""

    model = Dispositivo
    form = DispositivoRowForm
    formset = DevicesWithinCapacity
    fields = ("codigo", "nome", "grandeza", "unidade", "tipo_leitura", "status")
    extra = 0
    can_delete = False
    show_change_link = True


@admin.register(Gateway)
class GatewayAdmin(WideListAdmin, ProtectedDeletionAdmin):
    """Gateways of all Contas."""

    form = GatewayForm
    list_display = ("codigo", "mac", "conta", "is_active", "is_online", "heard", "devices", "refused")
    list_filter = ("is_active", "is_online")
    list_select_related = ("conta",)
    search_fields = ("codigo", "mac", "device_id", "nome", "conta__name")
    autocomplete_fields = ("conta",)
    readonly_fields = ("mqtt_user", "mqtt_topic", "is_online", "last_seen", "created_at", "refused_by_motivo")
    inlines = (DispositivoInline,)

    def get_fieldsets(self, request: HttpRequest, obj: Gateway | None = None) -> Any:
        """Return the fields; a stored gateway has a topic, and a reason to change."""
        mqtt = ((_("MQTT"), {"fields": ("mqtt_user", "mqtt_topic")}),) if obj is not None else ()
        asked = ("motivo",) if obj is not None and self.has_change_permission(request, obj) else ()
        return (
            (None, {"fields": ("conta", "codigo", "mac", "device_id", "nome", "descricao", "is_active")}),
            *mqtt,
            (
                _("Capacidade e tempos"),
                {"fields": ("qte_max_dispositivos", "aceita_leituras_desde", "intervalo_esperado_s", *asked)},
            ),
            (_("Local"), {"fields": ("latitude", "longitude")}),
            (
                _("Estado"),
                {"fields": ("is_online", "last_seen", "firmware_version", "refused_by_motivo", "created_at")},
            ),
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Gateway]:
        """Return the gateways with their numbers of devices and of refusals."""
        devices = (
            Dispositivo.objects.filter(gateway=OuterRef("pk"))
            .order_by()
            .values("gateway")
            .annotate(n=Count("pk"))
            .values("n")
        )
        refused = (
            RejeicaoContador.objects.filter(gateway=OuterRef("pk"))
            .values("gateway")
            .annotate(n=Sum("total"))
            .values("n")
        )
        gateways: QuerySet[Gateway] = super().get_queryset(request)
        return gateways.annotate(
            device_count=Coalesce(Subquery(devices, output_field=IntegerField()), 0),
            refused_count=Coalesce(Subquery(refused, output_field=IntegerField()), 0),
        )

    @admin.display(description=_("usuário"))
    def mqtt_user(self, gateway: Gateway) -> str:
        """Show as whom it connects to the broker."""
        return GatewayAccount(gateway.mac).user

    @admin.display(description=_("tópico das leituras"))
    def mqtt_topic(self, gateway: Gateway) -> str:
        """Show where it publishes, in a form that the broker lets through."""
        return GatewayAccount(gateway.mac, gateway.device_id or "").topic(settings.MQTT_TOPIC_PREFIX)

    @admin.display(description=_("último sinal"), ordering="last_seen")
    def heard(self, gateway: Gateway) -> str:
        """Show when it was last heard of, in its Conta's time."""
        return clock_with_zone(gateway.last_seen, gateway.conta.zone)

    @admin.display(description=_("dispositivos"), ordering="device_count")
    def devices(self, gateway: Any) -> str:
        """Show how many devices are registered, of how many possible."""
        return f"{gateway.device_count} / {gateway.qte_max_dispositivos}"

    @admin.display(description=_("rejeitadas"), ordering="refused_count")
    def refused(self, gateway: Any) -> int:
        """Show how many messages and readings were refused so far."""
        return int(gateway.refused_count)

    @admin.display(description=_("rejeitadas por motivo"))
    def refused_by_motivo(self, gateway: Gateway) -> str:
        """Show the counters of this gateway, each with a link to what is kept."""
        url = reverse("admin:tds_new_mensagemrejeitada_changelist")
        counters = (
            RejeicaoContador.objects.filter(gateway=gateway.pk).order_by("-total") if gateway.pk else []
        )
        rows = [
            (url, counter.motivo, gateway.pk, counter.get_motivo_display(), counter.total)
            for counter in counters
        ]
        return format_html_join(
            "", '<div><a href="{}?motivo__exact={}&amp;gateway={}">{}</a>: {}</div>', rows
        ) or gettext("nenhuma")
