"""The pages of readings out of the ordinary, on which people decide.

A decision always has a reason, and is taken beside the neighbouring readings.
"""

from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from tds_new.admin.base import ReadOnlyAdmin, ReasonForm, WideListAdmin, labelled
from tds_new.admin.decisions import APPROVE, AT_ONCE, CHANGE, DISCARD, UNDO, Decision, apply, refusal_of
from tds_new.admin.explanation import Case, cases_of, why
from tds_new.admin.filters import ContaOfReadingFilter, by_date
from tds_new.admin.meter_change import MeterChangeForm, misfits
from tds_new.formats import MISSING, NBSP, clock, clock_with_zone, offset, register, register_with_unit
from tds_new.models import LeituraEmRevisao, OcorrenciaMedicao, RevisaoLeitura, TrocaMedidor
from tds_new.queries.neighbours import NearbyReading, readings_around
from tds_new.storage.audit import sign

CLASSES = OcorrenciaMedicao.Classe
SYMBOLS = {
    CLASSES.SUSPEITA: "◆",
    CLASSES.IMPLAUSIVEL: "▲",
    CLASSES.REINICIO: "≈",
    CLASSES.VIRADA: "↻",
    CLASSES.TROCA: "⇄",
    CLASSES.QUEDA: "▽",
    "ESPERA": "▲",
    "RESOLVIDA": "○",
    "APROVADA": "✓",
    "DESCARTADA": "✕",
}


def change_in_words(change: TrocaMedidor, row: LeituraEmRevisao) -> str:
    """Return a meter change before a reading, in one line and in its Conta's time."""
    text = _("Troca de medidor em %(when)s: final %(final)s, inicial %(initial)s.")
    final, initial = (
        register_with_unit(value, row.dispositivo.unidade)
        for value in (change.leitura_final, change.leitura_inicial)
    )
    return text % {
        "when": clock_with_zone(change.ocorrida_em, row.conta.zone),
        "final": final,
        "initial": initial,
    }


def badge(kind: str, text: str) -> str:
    """Return a word with its symbol and colour."""
    return format_html(
        '<span class="badge badge-{}"><span aria-hidden="true">{}</span> {}</span>',
        kind.lower(),
        SYMBOLS.get(kind, ""),
        text,
    )


@dataclass(frozen=True)
class Neighbour:
    """A line of the table of neighbouring readings."""

    when: str
    value: str
    difference: str
    badges: list[str]
    here: bool
    base: bool


def neighbours(row: LeituraEmRevisao, around: list[NearbyReading]) -> list[Neighbour]:
    """Return the readings around ``row``, each with its difference to the one before.

    Times are the Conta's.
    """
    lines, zone = [], row.conta.zone
    for index, reading in enumerate(around):
        badges = [badge(reading.classe, str(CLASSES(reading.classe).label))] if reading.classe else []
        badges += (
            [badge(reading.decisao, str(RevisaoLeitura.Decisao(reading.decisao).label))]
            if reading.decisao
            else []
        )
        difference = register(reading.valor - around[index - 1].valor) if index else MISSING
        place = (reading.time == row.leitura_em, reading.time == row.inicio)
        lines.append(
            Neighbour(clock(reading.time, zone), register(reading.valor), difference, badges, *place)
        )
    return lines


class SituacaoFilter(admin.SimpleListFilter):
    """Selects readings that wait for people, or those that do not."""

    title = gettext_lazy("situação")
    parameter_name = "situacao"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the four states."""
        return [(str(value), label) for value, label in LeituraEmRevisao.Situacao.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows in the chosen state."""
        return queryset.filter(situacao=self.value()) if self.value() else queryset


@admin.register(LeituraEmRevisao)
class LeituraEmRevisaoAdmin(WideListAdmin, ReadOnlyAdmin):
    """Readings that the ledger found unusual, or that somebody has decided on.

    Readings that wait for people come first.
    """

    list_display = ("when", "place", "value", "base", "jump", "kind", "state")
    list_filter = (
        SituacaoFilter,
        "classe",
        ContaOfReadingFilter,
        ("leitura_em", by_date(gettext_lazy("data da leitura"))),
    )
    list_select_related = ("dispositivo__conta", "gateway", "conta", "decisao__registrado_por")
    list_per_page = AT_ONCE
    nothing = gettext_lazy("Nenhuma leitura foge do comum, e ninguém decidiu sobre alguma.")
    search_fields = (
        "dispositivo__codigo",
        "dispositivo__nome",
        "gateway__codigo",
        "gateway__mac",
        "conta__name",
    )
    actions = ("approve", "discard", "declare_change", "undo")
    readonly_fields = (
        "when",
        "device",
        "gateway",
        "conta",
        "value",
        "base",
        "jump",
        "kind",
        "state",
        "evidence",
    )
    change_form_template = "admin/tds_new/leituraemrevisao/reading.html"

    class Media:
        css = {"all": ("tds_new/css/admin.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows with all that a line shows."""
        return super().get_queryset(request).select_related(*self.list_select_related)

    def get_fields(self, request: HttpRequest, obj: LeituraEmRevisao | None = None) -> tuple[str, ...]:
        """Return the fields of the reading, and of the decision on it if there is one."""
        return self.readonly_fields if obj and obj.decisao_id else self.readonly_fields[:-1]

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Return whether the person may change, and so decide on, readings under review."""
        return bool(request.user.has_perm("tds_new.change_leituraemrevisao"))

    def has_declare_permission(self, request: HttpRequest) -> bool:
        """Return whether the person may decide and add meter changes, and so declare one."""
        return self.has_decide_permission(request) and bool(request.user.has_perm("tds_new.add_trocamedidor"))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show one reading among its neighbours, with the decisions that are possible."""
        row = self.get_object(request, unquote(object_id))
        context: dict[str, Any] = {
            **(extra_context or {}),
            "title": _("Leitura em revisão"),
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        if row is not None:
            decisions = [
                d for d in (APPROVE, DISCARD, UNDO) if self.has_decide_permission(request) and d.allowed(row)
            ]
            (case,) = cases_of([row])
            changes = _changes_between(row, case)
            decisions += (
                [CHANGE]
                if self.has_declare_permission(request) and CHANGE.allowed(row) and not changes
                else []
            )
            context["lines"] = neighbours(row, readings_around([(row.dispositivo, row.leitura_em)])[0])
            context |= {
                "why": why(row, case),
                "changes": [(change.pk, change_in_words(change, row)) for change in changes],
            }
            context["decisions"] = [(decision, decision.effect(row, case)) for decision in decisions]
        return super().change_view(request, object_id, form_url, context)

    @admin.action(permissions=["decide"], description=gettext_lazy("Aprovar as leituras selecionadas"))
    def approve(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Have the chosen readings accepted, whatever the plausible maximum says."""
        return self._decide(request, queryset, APPROVE)

    @admin.action(permissions=["decide"], description=gettext_lazy("Descartar as leituras selecionadas"))
    def discard(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Have the chosen readings left out."""
        return self._decide(request, queryset, DISCARD)

    @admin.action(
        permissions=["declare"],
        description=gettext_lazy("Registrar troca de medidor nas leituras selecionadas"),
    )
    def declare_change(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Enter the meter change that explains each chosen reading, one a device."""
        return self._decide(request, queryset, CHANGE)

    @admin.action(
        permissions=["decide"], description=gettext_lazy("Desfazer a decisão sobre as leituras selecionadas")
    )
    def undo(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Undo the decisions on the chosen readings."""
        return self._decide(request, queryset, UNDO)

    def _decide(
        self, request: HttpRequest, queryset: QuerySet[Any], decision: Decision
    ) -> HttpResponse | None:
        """Ask for the reason, and take the decision once it is given."""
        rows = list(queryset[: AT_ONCE + 1])
        if refusal := refusal_of(rows, decision):
            self.message_user(request, refusal, messages.ERROR)
            return None
        answer = request.POST if "confirmar" in request.POST else None
        form = ReasonForm(answer)
        changes = [MeterChangeForm.for_reading(row, answer) for row in rows] if decision is CHANGE else []
        if answer is None or not all([form.is_valid(), *(change.is_valid() for change in changes)]):
            return self._confirmation(request, rows, decision, form, changes)
        try:
            with transaction.atomic():
                sign(request.user, form.cleaned_data["motivo"])
                apply(rows, decision, changes, form.cleaned_data["motivo"], request.user)
        except IntegrityError:
            text = _("Nada foi feito: alguém decidiu ao mesmo tempo. Veja a lista de novo.")
            self.message_user(request, text, messages.ERROR)
            return None
        self._say_done(request, len(rows), decision)
        for change in changes:
            for text in misfits(change.instance):
                self.message_user(request, f"{change.row}: {text}", messages.WARNING)
        return None

    def _confirmation(
        self,
        request: HttpRequest,
        rows: list[LeituraEmRevisao],
        decision: Decision,
        form: ReasonForm,
        changes: list[MeterChangeForm],
    ) -> HttpResponse:
        """Show the page that asks for the reason.

        It shows each reading and what ``decision`` does to it. ``changes``: the forms of a decision that
        declares meter changes, one a reading; else none.
        """
        around = readings_around([(row.dispositivo, row.leitura_em) for row in rows])
        context = {
            **self.admin_site.each_context(request),
            "title": decision.title,
            "is_nav_sidebar_enabled": False,
            "opts": self.opts,
            "media": self.media + form.media,
            "decision": decision,
            "form": form,
            "checkbox": ACTION_CHECKBOX_NAME,
            "items": [
                {
                    "row": row,
                    "when": clock_with_zone(row.leitura_em, row.conta.zone),
                    "value": self.value(row),
                    "base": self.base(row),
                    "jump": self.jump(row),
                    "kind": self.kind(row),
                    "why": why(row, case),
                    "effect": decision.effect(row, case),
                    "lines": neighbours(row, lines),
                    "change": changes[n] if changes else None,
                }
                for n, (row, lines, case) in enumerate(zip(rows, around, cases_of(rows), strict=True))
            ],
        }
        return TemplateResponse(request, "admin/tds_new/leituraemrevisao/confirm.html", context)

    def _say_done(self, request: HttpRequest, count: int, decision: Decision) -> None:
        text = {
            APPROVE.name: ngettext("%(n)d leitura aprovada.", "%(n)d leituras aprovadas.", count),
            DISCARD.name: ngettext("%(n)d leitura descartada.", "%(n)d leituras descartadas.", count),
            CHANGE.name: ngettext("%(n)d troca registrada.", "%(n)d trocas registradas.", count),
            UNDO.name: ngettext("%(n)d decisão desfeita.", "%(n)d decisões desfeitas.", count),
        }[decision.name] % {"n": count}
        soon = _("O consumo é recalculado em segundos.")
        self.message_user(request, f"{text} {soon}", messages.SUCCESS)

    @admin.display(description=gettext_lazy("leitura de"), ordering="leitura_em")
    def when(self, row: LeituraEmRevisao) -> str:
        """Show the meter's time, in the Conta's zone."""
        zone = row.conta.zone
        day, time = clock(row.leitura_em, zone).split(NBSP)
        return format_html('{} <br>{} <span class="quiet">{}</span>', day, time, offset(row.leitura_em, zone))

    @admin.display(description=gettext_lazy("dispositivo"), ordering="dispositivo__codigo")
    def place(self, row: LeituraEmRevisao) -> str:
        """Show the device, its gateway and the Conta."""
        return format_html(
            '{}<br><span class="quiet">{} · {}</span>', self.device(row), row.gateway.codigo, row.conta
        )

    @admin.display(description=gettext_lazy("dispositivo"), ordering="dispositivo__codigo")
    def device(self, row: LeituraEmRevisao) -> str:
        """Show the device, with a link to its page."""
        return format_html(
            '<a href="{}">{}</a>',
            reverse("admin:tds_new_dispositivo_change", args=[row.dispositivo_id]),
            row.dispositivo,
        )

    @admin.display(description=gettext_lazy("valor"), ordering="valor")
    def value(self, row: LeituraEmRevisao) -> str:
        """Show the register's value."""
        return labelled(_("valor"), register_with_unit(row.valor, row.dispositivo.unidade))

    @admin.display(description=gettext_lazy("base"), ordering="valor_base")
    def base(self, row: LeituraEmRevisao) -> str:
        """Show the reading that it is measured from, with its time."""
        if row.inicio is None:
            return MISSING
        value = labelled(_("base"), register_with_unit(row.valor_base, row.dispositivo.unidade))
        return format_html('{}<br><span class="quiet">{}</span>', value, clock(row.inicio, row.conta.zone))

    @admin.display(description=gettext_lazy("salto"), ordering="salto")
    def jump(self, row: LeituraEmRevisao) -> str:
        """Show how far it is from its base."""
        sign = "+" if row.salto is not None and row.salto > 0 else ""
        return labelled(_("salto"), sign + register_with_unit(row.salto, row.dispositivo.unidade))

    @admin.display(description=gettext_lazy("classe"), ordering="classe")
    def kind(self, row: LeituraEmRevisao) -> str:
        """Show the ledger's class of it, or that at the time of the decision."""
        if row.classe:
            return badge(row.classe, row.get_classe_display())
        now_ = _("Normal") if row.situacao == row.Situacao.APROVADA else _("Fora das contas")
        was = (
            format_html('<br><span class="quiet">{} {}</span>', _("era:"), row.get_classe_decisao_display())
            if row.classe_decisao
            else ""
        )
        return format_html("{}{}", now_, was)

    @admin.display(description=gettext_lazy("situação"), ordering="situacao")
    def state(self, row: LeituraEmRevisao) -> str:
        """Show whether people have to decide, or who has decided."""
        who = row.decisao.registrado_por if row.decisao else None
        by = format_html('<br><span class="quiet person">{}</span>', who) if who else ""
        return format_html("{}{}", badge(row.situacao, row.get_situacao_display()), by)

    @admin.display(description=gettext_lazy("decisão"))
    def evidence(self, row: LeituraEmRevisao) -> str:
        """Show the reason, the time and the evidence of the decision."""
        decision = row.decisao
        if decision is None:
            return MISSING
        return format_html(
            "{} ({})<br>{} {} · {} {} · {}",
            decision.motivo, clock_with_zone(decision.registrado_em, row.conta.zone),
            _("valor"), register_with_unit(decision.valor, row.dispositivo.unidade),
            _("base"), register_with_unit(decision.valor_base, row.dispositivo.unidade),
            row.get_classe_decisao_display() or MISSING,
        )  # fmt: skip


def _changes_between(row: LeituraEmRevisao, case: Case | None) -> list[TrocaMedidor]:
    """Return the meter changes between ``row`` and its base, as the ledger sees them."""
    if case is None or not case.preview.changes:
        return []
    found = TrocaMedidor.objects.filter(dispositivo=row.dispositivo_id, ocorrida_em__in=case.preview.changes)
    return list(found.order_by("ocorrida_em"))
