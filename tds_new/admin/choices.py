"""The decisions that a reading's page offers, with what each would change."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from django.utils.translation import gettext as _

from tds_new.admin.cases import CLASSES, Case
from tds_new.admin.conflicts import OtherValue
from tds_new.admin.decision_forms import suggested_maximum
from tds_new.admin.decisions import (
    APPROVE,
    ATTRIBUTE,
    BY_NAME,
    CHANGE,
    CORRECT,
    COUNTED,
    RAISE,
    SEE,
    UNDO,
    Decision,
    safest,
)
from tds_new.admin.effects import Told, effects_of
from tds_new.admin.explanation import suggested_change
from tds_new.formats import register_with_unit
from tds_new.metering.preview import Entry, MeterChanged


@dataclass(frozen=True)
class Choice:
    """A button of a reading's page.

    ``query`` is what its address carries besides the decision. ``entry`` is what it would make as it stands,
    None where something has to be filled in first; ``note`` says which values were taken for that. ``weight``
    is ``first`` (the safe one), ``plain`` or ``quiet`` (it puts a jump into the totals).
    """

    decision: Decision
    button: str
    meaning: str
    weight: str
    query: str = ""
    entry: Entry | None = None
    note: str = ""
    told: Told | None = None


def choices_for(case: Case, may: Callable[[str], bool], others: list[OtherValue]) -> list[Choice]:
    """Return what may be decided on a reading, with its effects.

    ``may`` says whether the person has a permission; ``others`` are values that were set aside for the same
    time.
    """
    first = safest(case)
    allowed = [d for d in BY_NAME.values() if d.allowed(case) and (not d.permission or may(d.permission))]
    if first in allowed:
        allowed = [first, *(d for d in allowed if d is not first)]
    choices = [
        choice for decision in allowed for choice in _choices(case, decision, decision is first, others)
    ]
    asked = [choice.entry for choice in choices if choice.entry is not None and choice.decision is not SEE]
    told = iter(effects_of(case, asked))
    return [
        replace(choice, told=next(told))
        if choice.entry is not None and choice.decision is not SEE
        else choice
        for choice in choices
    ]


def entries_of(case: Case, decision: Decision) -> list[Entry]:
    """Return the entry that a decision makes; none if it changes no figure."""
    if decision is SEE:
        return []
    if decision is UNDO:
        return [Entry()]
    return [Entry(decision.stores or "", corrected=case.row.valor_corrigido)]


def see_button(case: Case) -> str:
    """Return what it is called to leave a reading as it is: some count, some do not."""
    if case.row.classe in COUNTED:
        return _("Está certo: manter")
    if case.row.classe == CLASSES.TRANSFERENCIA:
        return _("Não atribuir a nenhuma")
    return _("Deixar fora")


def _choices(case: Case, decision: Decision, first: bool, others: list[OtherValue]) -> list[Choice]:
    weight = "first" if first else "quiet" if decision is APPROVE else "plain"
    plain = Choice(decision, str(decision.button), str(decision.meaning), weight)
    if decision is SEE:
        return [replace(plain, button=see_button(case))]
    if decision is CORRECT:
        return [*(_other(case, plain, other) for other in others), plain]
    if decision is ATTRIBUTE:
        return [
            replace(
                plain,
                button=str(decision.button) % {"conta": conta},
                query="?" + urlencode({"conta": conta.pk}),
                entry=Entry(decision.stores or "", case.row.valor_corrigido, conta.pk),
            )
            for conta in case.contas()
        ]
    if decision is CHANGE:
        return [_suggested_change(case, plain)]
    if decision is RAISE:
        maximum = suggested_maximum(case)
        note = _("Com %(maximum)s desde esta leitura:") % {
            "maximum": register_with_unit(maximum, f"{case.unit}/h")
        }
        return [replace(plain, entry=Entry(hourly_maximum=(case.row.leitura_em, maximum)), note=note)]
    return [replace(plain, entry=entries_of(case, decision)[0])]


def _other(case: Case, plain: Choice, other: OtherValue) -> Choice:
    value = register_with_unit(other.value, case.unit)
    meaning = _("Outro valor chegou para a mesma hora, em %(when)s, e foi posto de lado como conflito.")
    return replace(
        plain,
        button=_("Usar %(value)s") % {"value": value},
        meaning=meaning % {"when": case.at(other.received_at)},
        query="?" + urlencode({"valor": f"{other.value:f}"}),
        entry=Entry(corrected=other.value),
    )


def _suggested_change(case: Case, plain: Choice) -> Choice:
    final, initial = suggested_change(case)
    change = MeterChanged(case.row.leitura_em, final, initial)
    note = _("Com leitura final %(final)s e inicial %(initial)s:") % {
        "final": case.amount(final),
        "initial": case.amount(initial),
    }
    return replace(plain, entry=Entry(change=change), note=note)
