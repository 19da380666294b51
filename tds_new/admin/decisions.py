"""Decisions on readings under review: when each is allowed, and what it stores."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tds_new.admin.explanation import (
    Case,
    effect_of_approval,
    effect_of_change,
    effect_of_discard,
    effect_of_undoing,
)
from tds_new.admin.meter_change import MeterChangeForm
from tds_new.metering.preview import may_be_approved
from tds_new.models import LeituraEmRevisao, OcorrenciaMedicao, RevisaoLeitura
from tds_new.models.registro import why_closed

AT_ONCE = 50  # readings decided on one page: nobody looks at more than that


@dataclass(frozen=True)
class Decision:
    """An action of people on readings of the list."""

    name: str
    title: Promise
    button: Promise
    allowed: Callable[[LeituraEmRevisao], bool]
    refusal: Promise
    effect: Callable[[LeituraEmRevisao, Case | None], str]


def _may_be_explained_by_a_change(row: LeituraEmRevisao) -> bool:
    return row.decisao_id is None and row.inicio is not None and row.classe != OcorrenciaMedicao.Classe.TROCA


APPROVE = Decision(
    name="approve",
    title=gettext_lazy("Aprovar leituras"),
    button=gettext_lazy("Aprovar"),
    allowed=lambda row: row.decisao_id is None and may_be_approved(row.classe),
    refusal=gettext_lazy("Só se aprovam leituras suspeitas e saltos implausíveis que ninguém decidiu ainda."),
    effect=effect_of_approval,
)
DISCARD = Decision(
    name="discard",
    title=gettext_lazy("Descartar leituras"),
    button=gettext_lazy("Descartar"),
    allowed=lambda row: row.decisao_id is None,
    refusal=gettext_lazy("Só se descartam leituras que ninguém decidiu ainda; desfaça antes a decisão."),
    effect=effect_of_discard,
)
CHANGE = Decision(
    name="declare_change",
    title=gettext_lazy("Registrar troca de medidor"),
    button=gettext_lazy("Registrar troca"),
    allowed=_may_be_explained_by_a_change,
    refusal=gettext_lazy(
        "Só uma leitura com base, que ninguém decidiu ainda, pode ser explicada por uma troca."
    ),
    effect=effect_of_change,
)
UNDO = Decision(
    name="undo",
    title=gettext_lazy("Desfazer decisões"),
    button=gettext_lazy("Desfazer"),
    allowed=lambda row: row.decisao_id is not None,
    refusal=gettext_lazy("Só se desfaz o que foi decidido."),
    effect=effect_of_undoing,
)


def refusal_of(rows: list[LeituraEmRevisao], decision: Decision) -> str:
    """Return why ``decision`` cannot be taken on ``rows``; empty if it can."""
    if not rows:
        return _(
            "As leituras escolhidas não estão mais na lista: o consumo foi recalculado. Veja a lista de novo."
        )
    if len(rows) > AT_ONCE:
        return _("Decida até %(n)d leituras por vez.") % {"n": AT_ONCE}
    unfit = [str(row) for row in rows if not decision.allowed(row)]
    if unfit:
        return f"{decision.refusal} ({', '.join(unfit[:5])}{', ...' if len(unfit) > 5 else ''})"
    first = min(rows, key=lambda row: row.leitura_em)
    if closed := why_closed(first.leitura_em, first.conta):
        return f"{first}: {closed}"
    if decision is CHANGE and len({row.dispositivo_id for row in rows}) < len(rows):
        return _("Escolha uma só leitura de cada dispositivo: a troca foi uma.")
    return ""


def apply(
    rows: list[LeituraEmRevisao], decision: Decision, changes: list[MeterChangeForm], motivo: str, user: Any
) -> None:
    """Take ``decision`` on ``rows``. Raises IntegrityError if another was faster.

    ``changes``: the filled forms of a decision that declares meter changes; ``motivo``: why; ``user``: who.
    """
    taken = {APPROVE.name: RevisaoLeitura.Decisao.APROVADA, DISCARD.name: RevisaoLeitura.Decisao.DESCARTADA}
    for row in rows if decision.name in taken else []:
        entry = {
            "dispositivo": row.dispositivo,
            "leitura_em": row.leitura_em,
            "motivo": motivo,
            "registrado_por": user,
        }
        RevisaoLeitura.objects.create(decisao=taken[decision.name], **entry)
    for change in changes:
        change.instance.motivo, change.instance.registrado_por = motivo, user
        change.save()
    if decision is UNDO:
        undone, _each = RevisaoLeitura.objects.filter(pk__in=[row.decisao_id for row in rows]).delete()
        if undone < len(rows):
            raise IntegrityError("a decision was undone meanwhile")
