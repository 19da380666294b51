"""The operator's pages: rejected messages, consumers, maintenance."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.timesince import timesince
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from tds_new.admin.base import ListAdmin, ReadOnlyAdmin, WideListAdmin
from tds_new.admin.conflicts import address_of_use, conflict_of, device_of
from tds_new.admin.filters import ContaFilter, GatewayFilter, ReprocessedFilter, by_date
from tds_new.admin.payload import readable
from tds_new.formats import MISSING, clock
from tds_new.ingestion.reprocess import reprocess
from tds_new.models import ConsumerStatus, ManutencaoExecucao, MensagemRejeitada, Motivo, RejeicaoContador
from tds_new.queries.consumers import dropped_by_broker, is_silent, silent_consumers


def clock_here(moment: datetime | None) -> str:
    """Return ``18/02/2026 12:47:10`` by the platform's clock, not a Conta's."""
    return clock(moment, ZoneInfo(settings.TIME_ZONE))


@admin.register(MensagemRejeitada)
class MensagemRejeitadaAdmin(WideListAdmin, ReadOnlyAdmin):
    """Rejected messages, which can be processed again once their cause is fixed."""

    list_display = ("received", "motivo", "origin", "detalhe", "state")
    list_filter = (
        "motivo",
        ReprocessedFilter,
        ("recebida_em", by_date(gettext_lazy("data de recebimento"))),
        GatewayFilter,
        ContaFilter,
    )
    nothing = gettext_lazy("Nenhuma mensagem rejeitada está guardada.")
    list_select_related = ("gateway", "conta")
    list_per_page = 50
    search_fields = ("topico", "gateway__codigo", "gateway__mac")
    ordering = ("-id",)
    actions = ("reprocess_chosen", "reprocess_alike")
    fields = (
        "recebida_em",
        "motivo",
        "detalhe",
        "topico",
        "gateway",
        "conta",
        "leitura_indice",
        "state",
        "size",
        "content",
    )
    readonly_fields = ("state", "size", "content")

    def get_urls(self) -> list[Any]:
        """Return the addresses, with that which uses the value of a conflict."""
        use = path(
            "<int:message_id>/usar-valor/",
            self.admin_site.admin_view(self.use_value),
            name="tds_new_mensagemrejeitada_use",
        )
        return [use, *super().get_urls()]

    def use_value(self, request: HttpRequest, message_id: int) -> HttpResponse:
        """Go to where the value of a conflict is put in the place of the stored one.

        The address tells of the message, so it takes the right to see messages.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        message = MensagemRejeitada.objects.filter(pk=message_id).first()
        conflict, device = (conflict_of(message), device_of(message)) if message else (None, None)
        if conflict is None or device is None:
            text = _("Não se sabe de que leitura esta mensagem é outro valor.")
            self.message_user(request, text, messages.ERROR)
            return HttpResponseRedirect(reverse("admin:tds_new_mensagemrejeitada_changelist"))
        return HttpResponseRedirect(address_of_use(device, conflict))

    def get_queryset(self, request: HttpRequest) -> QuerySet[MensagemRejeitada]:
        """Return the rows without payloads, which only the page of one message shows."""
        return super().get_queryset(request).defer("payload")

    def has_reprocess_permission(self, request: HttpRequest) -> bool:
        """Return whether the person may change, and so reprocess, rejected messages."""
        return request.user.has_perm("tds_new.change_mensagemrejeitada")

    @admin.action(permissions=["reprocess"], description=gettext_lazy("Reprocessar as selecionadas"))
    def reprocess_chosen(self, request: HttpRequest, queryset: QuerySet[MensagemRejeitada]) -> None:
        """Process the chosen messages again."""
        self._reprocess(request, MensagemRejeitada.objects.filter(pk__in=queryset.order_by().values("pk")))

    @admin.action(
        permissions=["reprocess"], description=gettext_lazy("Reprocessar todas do mesmo motivo e gateway")
    )
    def reprocess_alike(self, request: HttpRequest, queryset: QuerySet[MensagemRejeitada]) -> None:
        """Process again everything with the motivo and gateway of a chosen message.

        If the gateway is unknown, with its topic.
        """
        alike = Q(pk__in=[])
        for motivo, gateway in (
            queryset.filter(gateway__isnull=False).order_by().values_list("motivo", "gateway").distinct()
        ):
            alike |= Q(motivo=motivo, gateway=gateway)
        for motivo, topico in (
            queryset.filter(gateway__isnull=True).order_by().values_list("motivo", "topico").distinct()
        ):
            alike |= Q(motivo=motivo, gateway__isnull=True, topico=topico)
        self._reprocess(request, MensagemRejeitada.objects.filter(alike))

    def _reprocess(self, request: HttpRequest, waiting: QuerySet[MensagemRejeitada]) -> None:
        try:
            result = reprocess(waiting)
        except psycopg.Error as error:
            self.message_user(
                request,
                _("O banco de dados falhou; o que já foi aceito fica. Tente de novo. (%s)") % error,
                messages.ERROR,
            )
            return
        accepted = ngettext("%(n)d aceita", "%(n)d aceitas", result.accepted) % {"n": result.accepted}
        refused = ngettext("%(n)d recusada de novo", "%(n)d recusadas de novo", result.refused) % {
            "n": result.refused
        }
        self.message_user(
            request, f"{accepted}, {refused}.", messages.WARNING if result.refused else messages.SUCCESS
        )

    @admin.display(description=gettext_lazy("recebida em"), ordering="recebida_em")
    def received(self, mensagem: MensagemRejeitada) -> str:
        """Show when it came, by the platform's clock."""
        return clock_here(mensagem.recebida_em)

    @admin.display(description=gettext_lazy("origem"), ordering="gateway__codigo")
    def origin(self, mensagem: MensagemRejeitada) -> str:
        """Show the gateway and its Conta; the topic if the gateway is not known."""
        if mensagem.gateway is None:
            return mensagem.topico
        gateway = mensagem.gateway
        return format_html(
            '{}<br><span class="quiet">{} · {}</span>', gateway.codigo, gateway.mac, mensagem.conta or MISSING
        )

    @admin.display(description=gettext_lazy("situação"), ordering="reprocessada_em")
    def state(self, mensagem: MensagemRejeitada) -> str:
        """Show whether it was accepted later, and when."""
        if mensagem.reprocessada_em is None and mensagem.motivo == Motivo.CONFLITO:
            url = reverse("admin:tds_new_mensagemrejeitada_use", args=[mensagem.pk])
            return format_html('{}<br><a href="{}">{}</a>', _("À espera"), url, _("Usar este valor"))
        if mensagem.reprocessada_em is None:
            return _("À espera")
        return format_html(
            '{}<br><span class="quiet">{}</span>', _("Aceita depois"), clock_here(mensagem.reprocessada_em)
        )

    @admin.display(description=gettext_lazy("tamanho"))
    def size(self, mensagem: MensagemRejeitada) -> str:
        """Show how many bytes are kept."""
        return ngettext("%(n)d byte", "%(n)d bytes", len(mensagem.payload)) % {"n": len(mensagem.payload)}

    @admin.display(description=gettext_lazy("conteúdo"))
    def content(self, mensagem: MensagemRejeitada) -> str:
        """Show the payload as text, or as hexadecimal if it is none."""
        return format_html("<pre>{}</pre>", readable(bytes(mensagem.payload)))


@admin.register(RejeicaoContador)
class RejeicaoContadorAdmin(ListAdmin, ReadOnlyAdmin):
    """The number of rejections by gateway and reason, deleted rows included."""

    list_display = ("motivo", "gateway", "total", "primeira_em", "ultima_em")
    list_filter = ("motivo", ("ultima_em", by_date(gettext_lazy("data da última"))))
    list_select_related = ("gateway",)
    search_fields = ("gateway__codigo", "gateway__mac")
    ordering = ("-total", "pk")


@admin.register(ConsumerStatus)
class ConsumerStatusAdmin(WideListAdmin, ReadOnlyAdmin):
    """The consumers as they last reported.

    The pages warn about silent consumers, and about messages that the broker dropped.
    """

    list_display = ("client_id", "state", "dropped", "where", "updated", "last_batch", "begun")
    ordering = ("client_id",)
    nothing = gettext_lazy(
        "Nenhum consumidor deu notícia ainda: enquanto nenhum roda, as mensagens esperam no broker."
    )
    fields = (
        "client_id",
        "host",
        "pid",
        "state",
        "dropped",
        "since",
        "updated_at",
        "last_batch_at",
        "counted",
    )
    readonly_fields = ("state", "dropped", "counted")

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Show the list, with warnings on top.

        Warnings name consumers whose last report is old, and messages that the broker dropped.
        """
        response = super().changelist_view(request, extra_context)
        for consumer in silent_consumers():
            text = _(
                "O consumidor %(client)s não dá notícia: pode ter caído. As mensagens esperam no broker."
            )
            self.message_user(request, text % {"client": consumer.client_id}, messages.WARNING)
        for consumer in ConsumerStatus.objects.filter(counters__broker_dropped__gt=0).order_by("client_id"):
            self._warn_of_dropped(request, consumer)
        return response

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show one consumer, with a warning if the broker has dropped messages."""
        response = super().change_view(request, object_id, form_url, extra_context)
        consumer = self.get_object(request, unquote(object_id))
        if consumer is not None and dropped_by_broker(consumer):
            self._warn_of_dropped(request, consumer)
        return response

    def _warn_of_dropped(self, request: HttpRequest, consumer: ConsumerStatus) -> None:
        dropped = dropped_by_broker(consumer)
        text = ngettext(
            "O broker descartou %(n)d mensagem desde %(since)s (visto por %(client)s). "
            "Sem “seq” no gateway, ela está perdida. "
            "Veja max_queued_messages na configuração do broker.",
            "O broker descartou %(n)d mensagens desde %(since)s (visto por %(client)s). "
            "Sem “seq” no gateway, elas estão perdidas. "
            "Veja max_queued_messages na configuração do broker.",
            dropped,
        )
        since = date_format(localtime(consumer.since), "SHORT_DATETIME_FORMAT") if consumer.since else "?"
        self.message_user(
            request, text % {"n": dropped, "since": since, "client": consumer.client_id}, messages.WARNING
        )

    @admin.display(description=gettext_lazy("máquina"), ordering="host")
    def where(self, consumer: ConsumerStatus) -> str:
        """Show machine and process."""
        return format_html(
            '{}<br><span class="quiet">{} {}</span>', consumer.host, _("processo"), consumer.pid
        )

    @admin.display(description=gettext_lazy("atualizado em"), ordering="updated_at")
    def updated(self, consumer: ConsumerStatus) -> str:
        """Show when it last reported."""
        return clock_here(consumer.updated_at)

    @admin.display(description=gettext_lazy("último lote"), ordering="last_batch_at")
    def last_batch(self, consumer: ConsumerStatus) -> str:
        """Show when it last stored something."""
        return clock_here(consumer.last_batch_at)

    @admin.display(description=gettext_lazy("desde"), ordering="since")
    def begun(self, consumer: ConsumerStatus) -> str:
        """Show since when it is in its state."""
        return clock_here(consumer.since)

    @admin.display(description=gettext_lazy("descartadas pelo broker"))
    def dropped(self, consumer: ConsumerStatus) -> int:
        """Show how many messages the broker has dropped since this consumer became active."""
        return dropped_by_broker(consumer)

    @admin.display(description=gettext_lazy("estado"), ordering="estado")
    def state(self, consumer: ConsumerStatus) -> str:
        """Show the state, with the age of the report if it is too old to be relied on."""
        state = consumer.get_estado_display()
        if not is_silent(consumer):
            return state
        if consumer.updated_at is None:
            return _("%(state)s (nunca atualizado)") % {"state": state}
        return _("%(state)s (sem notícia há %(age)s)") % {
            "state": state,
            "age": timesince(consumer.updated_at),
        }

    @admin.display(description=gettext_lazy("contadores"))
    def counted(self, consumer: ConsumerStatus) -> str:
        """Show the counters, a line each."""
        return format_html_join("", "<div>{}: {}</div>", sorted(consumer.counters.items()))


@admin.register(ManutencaoExecucao)
class ManutencaoExecucaoAdmin(ListAdmin, ReadOnlyAdmin):
    """Maintenance tasks, with a warning about those that are overdue."""

    list_display = ("nome", "ultimo_sucesso", "ultima_execucao", "prazo", "erro")
    nothing = gettext_lazy(
        "Nenhuma rotina rodou ainda. "
        "Elas rodam com o processo de consumo (process_consumption): confira se ele está no ar."
    )

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Show the list, with a warning on top for each task that is overdue."""
        response = super().changelist_view(request, extra_context)
        for task in ManutencaoExecucao.objects.overdue():
            text = _("%(name)s está em atraso: nenhum processo de consumo roda, ou a execução falha.") % {
                "name": task.nome
            }
            self.message_user(request, text, messages.WARNING)
        return response
