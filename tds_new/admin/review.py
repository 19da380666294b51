"""The pages of readings out of the ordinary, on which people decide.

A decision always has a reason, and is taken beside the neighbouring readings and with what it would change.
"""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import label_for_field, lookup_field, unquote
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from tds_new.admin.base import ReadOnlyAdmin, ReasonForm, WideListAdmin, labelled
from tds_new.admin.cases import CLASSES, SITUATIONS, Case, cases_of
from tds_new.admin.choices import choices_for, entries_of, see_button
from tds_new.admin.conflicts import other_values
from tds_new.admin.decision_forms import ContaForm, DecisionForm, MaximumForm, MeterChangeForm, ValueForm
from tds_new.admin.decisions import (
    AT_ONCE,
    ATTRIBUTE,
    BY_NAME,
    CHANGE,
    CORRECT,
    DISCARD,
    RAISE,
    SEE,
    UNDO,
    Decision,
    refusal_of,
    store,
)
from tds_new.admin.effects import Told, effects_of, rebuild_first
from tds_new.admin.explanation import counts_now, why
from tds_new.admin.filters import ContaOfReadingFilter, by_date
from tds_new.admin.meter_change import misfits
from tds_new.admin.reading_table import badge, change_in_words, changes_between, neighbours
from tds_new.formats import MISSING, NBSP, clock, clock_with_zone, offset, register_with_unit
from tds_new.metering.preview import waits_for_rebuild
from tds_new.models import LeituraEmRevisao
from tds_new.queries.waiting import waiting_readings
from tds_new.storage.audit import sign

EFFECTS_AT_ONCE = 10  # readings whose effects are looked up for one page
CONFIRM, PREVIEW = "confirmar", "ver"  # the names of the buttons of the page that asks for the reason


class SituacaoFilter(admin.SimpleListFilter):
    """Selects readings by what they wait for, or what was decided."""

    title = gettext_lazy("situação")
    parameter_name = "situacao"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return all situations."""
        return [(str(value), label) for value, label in SITUATIONS.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows in the chosen situation."""
        return queryset.filter(situacao=self.value()) if self.value() else queryset


class ClasseFilter(admin.SimpleListFilter):
    """Selects by the ledger's present class; dips are on their device's page."""

    title = gettext_lazy("classe")
    parameter_name = "classe"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the classes that are listed."""
        return [(str(value), label) for value, label in CLASSES.choices if value != CLASSES.QUEDA]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the chosen class."""
        return queryset.filter(classe=self.value()) if self.value() else queryset


@admin.register(LeituraEmRevisao)
class LeituraEmRevisaoAdmin(WideListAdmin, ReadOnlyAdmin):
    """Readings that the ledger found unusual, or that somebody has decided on.

    Readings that wait for people come first.
    """

    list_display = ("when", "place", "value", "base", "jump", "kind", "state")
    list_filter = (
        SituacaoFilter,
        ClasseFilter,
        ContaOfReadingFilter,
        ("leitura_em", by_date(gettext_lazy("data da leitura"))),
    )
    list_select_related = (
        "dispositivo__conta",
        "gateway",
        "conta",
        "decisao__registrado_por",
        "decisao__atribuida_a",
    )
    linked_by = ("dispositivo",)
    list_per_page = AT_ONCE
    nothing = gettext_lazy("Nenhuma leitura foge do comum, e ninguém decidiu sobre alguma.")
    search_fields = (
        "dispositivo__codigo",
        "dispositivo__nome",
        "gateway__codigo",
        "gateway__mac",
        "conta__name",
    )
    actions = ("see", "discard", "undo")
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

    def get_urls(self) -> list[Any]:
        """Return the addresses, with those of each decision on a reading."""
        decide = path(
            "<path:object_id>/decidir/<slug:name>/",
            self.admin_site.admin_view(self.decide_view),
            name="tds_new_leituraemrevisao_decide",
        )
        return [decide, *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows with all that a line shows."""
        return super().get_queryset(request).select_related(*self.list_select_related)

    def get_fields(self, request: HttpRequest, obj: LeituraEmRevisao | None = None) -> tuple[str, ...]:
        """Return the fields of the reading, and of the decision on it if there is one."""
        return self.readonly_fields if obj and obj.decisao_id else self.readonly_fields[:-1]

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Return whether the person may change, and so decide on, readings under review."""
        return bool(request.user.has_perm("tds_new.change_leituraemrevisao"))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Show the list, with how many wait for somebody and how many for readings."""
        return super().changelist_view(request, {"waiting": waiting_readings(), **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show why one reading is there, what counts, and what may be decided."""
        row = self.get_object(request, unquote(object_id))
        context = {
            **(extra_context or {}),
            "subtitle": None,
            "is_nav_sidebar_enabled": False,
        }
        if row is not None:
            (case,) = cases_of([row])
            choices = []
            if self.has_decide_permission(request):
                others = other_values(row.dispositivo, row.leitura_em, case.received)
                choices = choices_for(case, request.user.has_perm, others)
            context |= {
                "title": str(row),
                "facts": self._facts(request, row),
                "why": why(case),
                "counts": counts_now(case),
                "changes": [(change.pk, change_in_words(change, row)) for change in changes_between(case)],
                "choices": choices,
                "lines": neighbours(row, case.around),
                "just_wait": row.situacao == SITUATIONS.AGUARDA,
            }
        return super().change_view(request, object_id, form_url, context)

    def _facts(self, request: HttpRequest, row: LeituraEmRevisao) -> list[tuple[str, str]]:
        """Return the label and the text of each fact about a reading."""
        names = self.get_fields(request, row)
        labels = [str(label_for_field(name, LeituraEmRevisao, self, return_attr=False)) for name in names]
        return [
            (label[:1].upper() + label[1:], str(lookup_field(name, row, self)[2]))
            for label, name in zip(labels, names, strict=True)
        ]

    @admin.action(
        permissions=["decide"], description=gettext_lazy("Marcar como vistas as leituras selecionadas")
    )
    def see(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Have the chosen readings wait no more; no figure changes."""
        return self._decide_many(request, queryset, SEE)

    @admin.action(permissions=["decide"], description=gettext_lazy("Descartar as leituras selecionadas"))
    def discard(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Have the chosen readings left out."""
        return self._decide_many(request, queryset, DISCARD)

    @admin.action(
        permissions=["decide"], description=gettext_lazy("Desfazer a decisão sobre as leituras selecionadas")
    )
    def undo(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Undo the decisions on the chosen readings."""
        return self._decide_many(request, queryset, UNDO)

    def _decide_many(
        self, request: HttpRequest, queryset: QuerySet[Any], decision: Decision
    ) -> HttpResponse | None:
        """Ask for the reason, and decide on the chosen readings once it is given."""
        cases = cases_of(list(queryset[: AT_ONCE + 1]))
        if refusal := refusal_of(cases, decision):
            self.message_user(request, refusal, messages.ERROR)
            return None
        reason = ReasonForm(request.POST if CONFIRM in request.POST else None)
        if not reason.is_valid():
            return self._confirmation(request, cases, decision, reason)
        self._take(request, cases, decision, reason, None)
        return None

    def decide_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """Ask for the reason and what else is needed, and decide once it is given."""
        decision = BY_NAME.get(name)
        if decision is None:
            raise Http404
        if not self.has_decide_permission(request) or (
            decision.permission and not request.user.has_perm(decision.permission)
        ):
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        cases = [] if row is None else cases_of([row])
        back = HttpResponseRedirect(reverse("admin:tds_new_leituraemrevisao_changelist"))
        if refusal := refusal_of(cases, decision):
            self.message_user(request, refusal, messages.ERROR)
            return back
        answer = request.POST if request.method == "POST" else None
        form = form_for(cases[0], decision, answer, request.GET.dict())
        reason = ReasonForm(
            answer if answer and CONFIRM in answer else None, initial={"motivo": request.POST.get("motivo")}
        )
        if reason.is_bound and all([reason.is_valid(), form is None or form.is_valid()]):
            self._take(request, cases, decision, reason, form)
            return back
        return self._confirmation(request, cases, decision, reason, form, single=True)

    def _take(
        self,
        request: HttpRequest,
        cases: list[Case],
        decision: Decision,
        reason: ReasonForm,
        form: DecisionForm | None,
    ) -> None:
        """Take a decision, signed, and say so; or say that somebody else was faster."""
        motivo = reason.cleaned_data["motivo"]
        try:
            with transaction.atomic():
                sign(request.user, motivo)
                if form is None:
                    store([case.row for case in cases], decision, motivo, request.user)
                else:
                    form.store(motivo, request.user)
        except IntegrityError:
            text = _("Nada foi feito: alguém decidiu ao mesmo tempo. Veja a lista de novo.")
            self.message_user(request, text, messages.ERROR)
            return
        self._say_done(request, cases, decision)
        for text in misfits(form.instance) if isinstance(form, MeterChangeForm) else []:
            self.message_user(request, f"{cases[0].row}: {text}", messages.WARNING)

    def _confirmation(
        self,
        request: HttpRequest,
        cases: list[Case],
        decision: Decision,
        reason: ReasonForm,
        form: DecisionForm | None = None,
        *,
        single: bool = False,
    ) -> HttpResponse:
        """Show the page that asks for the reason.

        It shows each reading and what ``decision`` does to it. ``form``: what else the decision asks.
        ``single``: the page is that of one reading; else it goes on with an action of the list.
        """
        context = {
            **self.admin_site.each_context(request),
            "title": decision.title,
            "is_nav_sidebar_enabled": False,
            "opts": self.opts,
            "media": self.media + reason.media + (form.media if form else reason.media),
            "decision": decision,
            "button": see_button(cases[0]) if decision is SEE and len(cases) == 1 else decision.button,
            "reason": reason,
            "form": form,
            "checkbox": ACTION_CHECKBOX_NAME,
            "confirm": CONFIRM,
            "preview": PREVIEW,
            "items": [
                {
                    "row": case.row,
                    "when": clock_with_zone(case.row.leitura_em, case.zone),
                    "value": self.value(case.row),
                    "base": self.base(case.row),
                    "jump": self.jump(case.row),
                    "kind": self.kind(case.row),
                    "why": why(case),
                    "counts": counts_now(case),
                    "told": told,
                    "lines": neighbours(case.row, case.around),
                }
                for case, told in zip(cases, effects_for(cases, decision, form), strict=True)
            ],
        }
        if single:
            context["back"] = reverse("admin:tds_new_leituraemrevisao_change", args=[cases[0].row.pk])
        return TemplateResponse(request, "admin/tds_new/leituraemrevisao/confirm.html", context)

    def _say_done(self, request: HttpRequest, cases: Sequence[Case], decision: Decision) -> None:
        count = len(cases)
        text = {
            SEE.name: ngettext(
                "%(n)d leitura marcada como vista.", "%(n)d leituras marcadas como vistas.", count
            ),
            DISCARD.name: ngettext("%(n)d leitura descartada.", "%(n)d leituras descartadas.", count),
            UNDO.name: ngettext("%(n)d decisão desfeita.", "%(n)d decisões desfeitas.", count),
            CHANGE.name: _("Troca registrada."),
            RAISE.name: _("Máximo por hora aumentado."),
            CORRECT.name: _("Valor corrigido."),
            ATTRIBUTE.name: _("Consumo atribuído."),
        }.get(decision.name, _("Decisão registrada."))
        if decision is SEE:
            soon = ""
        elif any(waits_for_rebuild(case.row.dispositivo_id, case.row.leitura_em) for case in cases):
            soon = rebuild_first()
        else:
            soon = _("O consumo é recalculado em segundos.")
        self.message_user(request, f"{text % {'n': count}} {soon}".strip(), messages.SUCCESS)

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


def form_for(case: Case, decision: Decision, answer: Any, query: dict[str, str]) -> DecisionForm | None:
    """Return what a decision asks besides the reason; None if nothing.

    ``answer``: what was posted, None if nothing was; ``query``: what the address suggests.
    """
    if decision is CORRECT:
        return ValueForm(case, answer, query.get("valor", ""))
    if decision is ATTRIBUTE:
        return ContaForm(case, answer, query.get("conta", ""))
    if decision is CHANGE:
        return MeterChangeForm(case, answer)
    return MaximumForm(case, answer) if decision is RAISE else None


def effects_for(cases: list[Case], decision: Decision, form: DecisionForm | None) -> list[Told | None]:
    """Return what a decision changes on each reading.

    None where that is not known yet, or where there are too many readings to look it up.
    """
    if decision is SEE:
        return [Told(totals=(_("Nenhum total muda."),), none=True) for _case in cases]
    if form is not None:
        entry = form.entry()
        return [effects_of(cases[0], [entry])[0] if entry else None]
    if len(cases) > EFFECTS_AT_ONCE:
        return [None for _case in cases]
    return [effects_of(case, entries_of(case, decision))[0] for case in cases]
