"""Failed logins that count at present, and their release by hand."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.timezone import now
from django.utils.translation import gettext_lazy, ngettext

from tds_new.admin.base import ListAdmin, ReadOnlyAdmin
from tds_new.models import TentativaEntrada


@admin.register(TentativaEntrada)
class TentativaEntradaAdmin(ListAdmin, ReadOnlyAdmin):
    """Counters of failed logins; to release one is to forget its failures."""

    list_display = ("tipo", "usuario", "rede", "falhas", "ultima_em", "expira_em")
    list_filter = ("tipo",)
    list_select_related = ("usuario",)
    list_per_page = 50
    nothing = gettext_lazy("Nenhuma entrada errada conta agora.")
    search_fields = ("usuario__email", "rede")
    ordering = ("-ultima_em",)
    actions = ("release",)
    fields = list_display

    def get_queryset(self, request: HttpRequest) -> QuerySet[TentativaEntrada]:
        """Return the counters that have not expired."""
        found: QuerySet[TentativaEntrada] = super().get_queryset(request)
        return found.filter(expira_em__gt=now(), falhas__gt=0)

    def has_release_permission(self, request: HttpRequest) -> bool:
        """Return whether the person may forget failures: who may delete their counters."""
        return bool(request.user.has_perm("tds_new.delete_tentativaentrada"))

    @admin.action(permissions=["release"], description=gettext_lazy("Liberar a entrada"))
    def release(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Forget the failures of the chosen counters."""
        count = queryset.delete()[0]
        text = ngettext("%(n)d contagem apagada.", "%(n)d contagens apagadas.", count)
        self.message_user(request, text % {"n": count})
