"""The Contas, and who works in them."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from tds_new.admin.base import ListAdmin, ProtectedDeletionAdmin
from tds_new.admin.power import MembershipInline
from tds_new.admin.structure import tree_context
from tds_new.models import Conta, Gateway


@admin.register(Conta)
class ContaAdmin(ListAdmin, ProtectedDeletionAdmin):
    """Contas with their people."""

    list_display = ("name", "cnpj", "timezone", "is_active", "people", "gateways_total")
    list_filter = ("is_active",)
    search_fields = ("name", "cnpj")
    fields = ("name", "cnpj", "timezone", "is_active", "created_at")
    readonly_fields = ("created_at",)
    inlines = (MembershipInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conta]:
        """Return the Contas with their numbers of active people and of gateways."""
        gateways = (
            Gateway.objects.filter(conta=OuterRef("pk"))
            .order_by()
            .values("conta")
            .annotate(n=Count("pk"))
            .values("n")
        )
        contas: QuerySet[Conta] = super().get_queryset(request)
        return contas.annotate(
            people_count=Count("memberships", filter=Q(memberships__is_active=True)),
            gateway_count=Coalesce(Subquery(gateways, output_field=IntegerField()), 0),
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show the Conta, with its main meters and what is behind them."""
        conta = self.get_object(request, unquote(object_id))
        shown = conta is not None and request.user.has_perm("tds_new.view_dispositivo")
        context = tree_context(conta) if shown and conta is not None else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    @admin.display(description=_("pessoas"), ordering="people_count")
    def people(self, conta: Any) -> int:
        """Show the number of active people of the Conta."""
        return int(conta.people_count)

    @admin.display(description=_("gateways"), ordering="gateway_count")
    def gateways_total(self, conta: Any) -> int:
        """Show the number of gateways of the Conta."""
        return int(conta.gateway_count)
