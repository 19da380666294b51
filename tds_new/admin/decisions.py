"""Decisions on readings under review: when each is allowed, and what it stores.

METERING's table says which decision does anything on which reading; a decision that would do nothing is not
offered, and neither is one that would put a jump into the totals that the rules have settled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tds_new.admin.cases import CLASSES, KINDS, SITUATIONS, Case
from tds_new.models import LeituraEmRevisao, RevisaoLeitura
from tds_new.models.registro import why_closed
from tds_new.models.troca import REGISTERS

AT_ONCE = 50  # readings decided on one page: nobody looks at more than that
DECISIONS = RevisaoLeitura.Decisao
# What counts although somebody should look at it.
COUNTED = (CLASSES.EXCESSO, CLASSES.INCOMUM, CLASSES.VIRADA)


@dataclass(frozen=True)
class Decision:
    """An action of people on readings of the list.

    ``name`` is part of addresses and forms. ``stores`` is what it stores as ``RevisaoLeitura.decisao``; None
    for an action that stores something else. ``meaning`` says in a sentence what it is for, ``refusal`` why
    it is not allowed where it is not. ``permission`` is needed besides that of deciding.
    """

    name: str
    title: Promise
    button: Promise
    meaning: Promise
    refusal: Promise
    allowed: Callable[[Case], bool]
    stores: str | None = None
    permission: str = ""


def _is_open(case: Case) -> bool:
    """Return whether nobody has decided, or its corrected value waits again."""
    return case.row.decisao_id is None or (case.waits and not case.row.decisao_codigo)


def _may_be_seen(case: Case) -> bool:
    """Return whether it waits; a chain's first does after a change of Conta only."""
    transferred = case.row.classe == CLASSES.TRANSFERENCIA
    return _is_open(case) and case.waits and (transferred or not case.is_first)


def _is_open_jump(case: Case) -> bool:
    """Return whether it waits and does not go on from its base."""
    jumped = (CLASSES.SUSPEITA, CLASSES.IMPLAUSIVEL, CLASSES.REINICIO)
    return _is_open(case) and case.waits and not case.is_first and case.row.classe in jumped


def _may_be_approved(case: Case) -> bool:
    """Return whether it is a rise that waits: an approved fall counts nothing."""
    if not _is_open_jump(case) or case.row.classe == CLASSES.REINICIO:
        return False
    return case.kind != KINDS.ACUMULADA or case.rise >= 0


def _may_have_restarted(case: Case) -> bool:
    """Return whether it is a fall that waits, to a value of zero or more."""
    return _is_open_jump(case) and case.kind == KINDS.ACUMULADA and case.rise < 0 <= case.value


def _may_have_gone_back(case: Case) -> bool:
    """Return whether it is a jump that waits, or one that counts."""
    if not _is_open(case) or case.is_first or case.kind not in REGISTERS:
        return False
    return _is_open_jump(case) or case.row.classe in (*COUNTED, CLASSES.REINICIO)


def _may_be_a_change(case: Case) -> bool:
    """Return whether no change explains it and no later reading took it back."""
    if case.measured is None or case.measured.changes or case.kind not in REGISTERS or case.is_first:
        return False
    settled = case.row.classe == CLASSES.SUSPEITA and not case.waits
    return _is_open(case) and bool(case.row.classe) and not settled


def _may_need_a_higher_maximum(case: Case) -> bool:
    """Return whether it, or an increment, is really faster than the maximum."""
    if not _is_open(case) or not case.waits:
        return False
    increment = case.row.classe == CLASSES.IMPLAUSIVEL and case.kind == KINDS.INCREMENTAL
    return case.row.classe == CLASSES.EXCESSO or increment


SEE = Decision(
    name="see",
    title=gettext_lazy("Marcar leituras como vistas"),
    button=gettext_lazy("Marcar como vista"),
    meaning=gettext_lazy("Alguém olhou: fica como está e não espera mais. Nenhum total muda."),
    refusal=gettext_lazy("Só se marcam como vistas leituras que esperam e que ninguém decidiu ainda."),
    allowed=_may_be_seen,
    stores=DECISIONS.VISTA,
)
DISCARD = Decision(
    name="discard",
    title=gettext_lazy("Descartar leituras"),
    button=gettext_lazy("Descartar"),
    meaning=gettext_lazy("A leitura fica fora de tudo, como se não tivesse chegado."),
    refusal=gettext_lazy("Só se descartam leituras que ninguém decidiu ainda; desfaça antes a decisão."),
    allowed=_is_open,
    stores=DECISIONS.DESCARTADA,
)
APPROVE = Decision(
    name="approve",
    title=gettext_lazy("Aprovar a leitura"),
    button=gettext_lazy("Aprovar: contar o salto"),
    meaning=gettext_lazy(
        "Foi mesmo consumo: o salto inteiro conta, seja qual for o máximo, e as próximas leituras "
        "não o desfazem."
    ),
    refusal=gettext_lazy(
        "Só se aprova um salto que espera e que ninguém decidiu ainda; uma queda não se aprova."
    ),
    allowed=_may_be_approved,
    stores=DECISIONS.APROVADA,
)
RESTART = Decision(
    name="restart",
    title=gettext_lazy("Registrar que recomeçou do zero"),
    button=gettext_lazy("Recomeçou do zero"),
    meaning=gettext_lazy("O registrador zerou e contou até aqui: conta o valor desta leitura, no mínimo."),
    refusal=gettext_lazy(
        "Só recomeça do zero um registrador que caiu para um valor não negativo, numa leitura que espera."
    ),
    allowed=_may_have_restarted,
    stores=DECISIONS.REINICIO,
)
RETURN = Decision(
    name="return",
    title=gettext_lazy("Seguir daqui sem contar o salto"),
    button=gettext_lazy("Seguir daqui sem contar"),
    meaning=gettext_lazy(
        "O registrador voltou a um total guardado, ou ninguém sabe o que houve: o salto não conta, e o "
        "consumo segue desta leitura."
    ),
    refusal=gettext_lazy(
        "Só num salto de registrador que espera, ou que conta, e que ninguém decidiu ainda."
    ),
    allowed=_may_have_gone_back,
    stores=DECISIONS.RETORNO,
)
CORRECT = Decision(
    name="correct",
    title=gettext_lazy("Usar outro valor"),
    button=gettext_lazy("Usar outro valor"),
    meaning=gettext_lazy(
        "O valor certo é conhecido: ele passa a valer no lugar do recebido, que fica guardado."
    ),
    refusal=gettext_lazy("Só se corrigem leituras que ninguém decidiu ainda; desfaça antes a decisão."),
    allowed=_is_open,
    stores="",
)
CHANGE = Decision(
    name="declare_change",
    title=gettext_lazy("Registrar troca de medidor"),
    button=gettext_lazy("Registrar troca"),
    meaning=gettext_lazy(
        "O medidor foi trocado entre a base e esta leitura: contam (final − base) + (leitura − inicial)."
    ),
    refusal=gettext_lazy(
        "Só uma leitura com base, que ninguém decidiu ainda, pode ser explicada por uma troca."
    ),
    allowed=_may_be_a_change,
    permission="tds_new.add_trocamedidor",
)
ATTRIBUTE = Decision(
    name="attribute",
    title=gettext_lazy("Atribuir o consumo a uma conta"),
    button=gettext_lazy("Atribuir a %(conta)s"),
    meaning=gettext_lazy("O consumo entre as duas contas passa a contar para a que for escolhida."),
    refusal=gettext_lazy("Só se atribui o consumo de uma mudança de conta que ninguém decidiu ainda."),
    allowed=lambda case: _is_open(case) and case.row.classe == CLASSES.TRANSFERENCIA,
    stores=DECISIONS.ATRIBUIDA,
)
RAISE = Decision(
    name="raise_maximum",
    title=gettext_lazy("Aumentar o máximo por hora"),
    button=gettext_lazy("Aumentar o máximo"),
    meaning=gettext_lazy(
        "O dispositivo é mesmo assim: um máximo por hora maior vale desde esta leitura, e ela deixa de "
        "chamar atenção."
    ),
    refusal=gettext_lazy("Só se aumenta o máximo por causa de uma leitura acima dele, que espera."),
    allowed=_may_need_a_higher_maximum,
    permission="tds_new.add_vigenciaparametros",
)
UNDO = Decision(
    name="undo",
    title=gettext_lazy("Desfazer decisões"),
    button=gettext_lazy("Desfazer a decisão"),
    meaning=gettext_lazy(
        "A leitura volta a ser julgada só pelas regras; "
        "a decisão e o motivo de desfazê-la ficam na auditoria."
    ),
    refusal=gettext_lazy("Só se desfaz o que foi decidido."),
    allowed=lambda case: case.row.decisao_id is not None,
)
BY_NAME = {
    decision.name: decision
    for decision in (
        *(SEE, RAISE, ATTRIBUTE, DISCARD, RETURN, RESTART, CHANGE, CORRECT, APPROVE),
        UNDO,
    )
}


def safest(case: Case) -> Decision | None:
    """Return the safe decision, which a page offers first.

    Where the cause is known, it is the one that cures it. None where nobody has to decide.
    """
    if case.row.situacao != SITUATIONS.ESPERA:
        return None
    return {CLASSES.EXCESSO: RAISE, CLASSES.TRANSFERENCIA: ATTRIBUTE}.get(CLASSES(case.row.classe), SEE)


def refusal_of(cases: list[Case], decision: Decision) -> str:
    """Return why ``decision`` cannot be taken on ``cases``; empty if it can."""
    if not cases:
        return _(
            "As leituras escolhidas não estão mais na lista: o consumo foi recalculado. Veja a lista de novo."
        )
    if len(cases) > AT_ONCE:
        return _("Decida até %(n)d leituras por vez.") % {"n": AT_ONCE}
    unfit = [str(case.row) for case in cases if not decision.allowed(case)]
    if unfit:
        return f"{decision.refusal} ({', '.join(unfit[:5])}{', ...' if len(unfit) > 5 else ''})"
    first = min((case.row for case in cases), key=lambda row: row.leitura_em)
    if closed := why_closed(first.leitura_em, first.conta):
        return f"{first}: {closed}"
    return ""


def store(rows: list[LeituraEmRevisao], decision: Decision, motivo: str, user: Any, **fields: Any) -> None:
    """Store a decision on ``rows``, or undo those that there are.

    A decision on a corrected value is added to the correction. Raises IntegrityError if somebody else was
    faster. ``motivo``: why; ``user``: who; ``fields``: further fields of the decision, such as
    ``valor_corrigido``.
    """
    if decision is UNDO:
        undone, _each = RevisaoLeitura.objects.filter(pk__in=[row.decisao_id for row in rows]).delete()
        if undone < len(rows):
            raise IntegrityError("a decision was undone meanwhile")
        return
    for row in rows:
        entry = {"decisao": decision.stores or "", "motivo": motivo, "registrado_por": user, **fields}
        if row.decisao_id is None:
            RevisaoLeitura.objects.create(dispositivo=row.dispositivo, leitura_em=row.leitura_em, **entry)
        elif not RevisaoLeitura.objects.filter(pk=row.decisao_id, decisao="").update(**entry):
            raise IntegrityError("somebody decided meanwhile")
