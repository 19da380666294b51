"""The Contas, and who works in them."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from tds_new.admin.base import BaseInline, ListAdmin, ProtectedDeletionAdmin
from tds_new.models import Conta, ContaMembership, Gateway


class MembershipInline(BaseInline):
    """The people of a Conta and their roles."""

    model = ContaMembership
    extra = 0
    autocomplete_fields = ("user",)


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

    @admin.display(description=_("pessoas"), ordering="people_count")
    def people(self, conta: Any) -> int:
        """Show the number of active people of the Conta."""
        return int(conta.people_count)

    @admin.display(description=_("gateways"), ordering="gateway_count")
    def gateways_total(self, conta: Any) -> int:
        """Show the number of gateways of the Conta."""
        return int(conta.gateway_count)
