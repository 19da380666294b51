"""The reason for a review and the effect of each decision, in words.

The numbers are the ledger's own (``tds_new.metering.preview``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.utils.translation import gettext as _

from tds_new.formats import clock, exact_duration, register, register_with_unit
from tds_new.metering.preview import Point, Preview, Question, preview
from tds_new.models import LeituraEmRevisao, OcorrenciaMedicao

CLASSES = OcorrenciaMedicao.Classe


@dataclass(frozen=True)
class Case:
    """A reading under review that has a base, with the ledger's judgement."""

    row: LeituraEmRevisao
    preview: Preview

    @property
    def base(self) -> Decimal:
        """The value that it is measured from."""
        return self.preview.base.value

    @property
    def value(self) -> Decimal:
        """The register's value."""
        return self.preview.reading.value

    @property
    def time(self) -> str:
        """The time from its base to it, in words."""
        return exact_duration(self.preview.elapsed)

    def amount(self, value: Decimal | None) -> str:
        """Return ``value`` with the register's unit."""
        return register_with_unit(value, self.row.dispositivo.unidade)

    def counted(self, value: Decimal) -> str:
        """Return what ``value`` of the register counts: ``12,5 × 40 = 500 kWh``."""
        factor = self.preview.factor
        return (
            self.amount(value)
            if factor == 1 or not value
            else f"{register(value)} × {register(factor)} = {self.amount(value * factor)}"
        )

    @property
    def allowed(self) -> str:
        """``7,6 kWh em 15 min (30,4 kWh/h)``."""
        hourly = register_with_unit(self.preview.hourly_maximum, f"{self.row.dispositivo.unidade}/h")
        return _("%(limit)s em %(time)s (%(hourly)s)") % {
            "limit": self.amount(self.preview.limit),
            "time": self.time,
            "hourly": hourly,
        }


def cases_of(rows: Sequence[LeituraEmRevisao]) -> list[Case | None]:
    """Return each row as a case, with the ledger's judgement.

    None for a row without a base: somebody has decided on a reading that the ledger finds ordinary.
    """
    questions: dict[int, Question] = {}
    for number, row in enumerate(rows):
        if row.inicio is not None and row.valor is not None and row.valor_base is not None:
            base, reading = Point(row.inicio, row.valor_base), Point(row.leitura_em, row.valor)
            questions[number] = Question(row.dispositivo_id, base, reading)
    found = dict(zip(questions, preview(list(questions.values())), strict=True)) if questions else {}
    return [Case(row, found[number]) if number in found else None for number, row in enumerate(rows)]


def why(row: LeituraEmRevisao, case: Case | None) -> str:
    """Return what is out of the ordinary, and what counts now."""
    explain = CAUSES.get(row.classe or row.classe_decisao)
    cause = explain(case) if explain and case else _("As regras não viam nada de incomum nesta leitura.")
    return f"{cause} {_outcome(row, case)}".strip()


def _fell(case: Case) -> str:
    return _("O registrador caiu de %(base)s para %(value)s em %(time)s") % {
        "base": case.amount(case.base), "value": case.amount(case.value), "time": case.time,
    }  # fmt: skip


def _changed(case: Case) -> str:
    if len(case.preview.changes) != 1:
        return _("Entre a base e esta leitura o medidor foi trocado.")
    old, new = case.preview.parts
    text = _("Entre a base e esta leitura o medidor foi trocado: %(old)s no antigo e %(new)s no novo.")
    return text % {"old": case.amount(old), "new": case.amount(new)}


def _rolled_over(case: Case) -> str:
    capacity = case.preview.capacity
    if capacity is None:
        return f"{_fell(case)}."
    text = _("%(fell)s, e volta a zero em %(modulus)s: %(rest)s até a virada e %(value)s depois dela.")
    return text % {
        "fell": _fell(case),
        "modulus": case.amount(capacity),
        "rest": case.amount(capacity - case.base),
        "value": case.amount(case.value),
    }


def _restarted(case: Case) -> str:
    return _("%(fell)s: recomeçou de zero.") % {"fell": _fell(case)}


def _dipped(case: Case) -> str:
    return _("%(fell)s, dentro da tolerância de %(tolerance)s.") % {
        "fell": _fell(case), "tolerance": case.amount(case.preview.dip_tolerance),
    }  # fmt: skip


def _not_accepted(case: Case) -> str:
    if case.preview.changes:
        return _not_accepted_with_a_change(case)
    if case.value < case.base:
        return f"{_fell(case)}. {_not_accepted_fall(case)}".strip()
    jump = case.amount(case.preview.amount)
    if case.preview.limit is None:
        return _("Foram %(jump)s em %(time)s.") % {"jump": jump, "time": case.time}
    return _("Permitido: %(allowed)s. Foram %(jump)s.") % {"allowed": case.allowed, "jump": jump}


def _not_accepted_with_a_change(case: Case) -> str:
    amount = case.preview.amount
    if amount < 0:
        return _("Com a troca registrada seriam %(amount)s, menos que nada.") % {
            "amount": case.amount(amount)
        }
    text = _("Com a troca registrada foram %(amount)s.") % {"amount": case.amount(amount)}
    return (
        text
        if case.preview.limit is None
        else _("Permitido: %(allowed)s. %(text)s") % {"allowed": case.allowed, "text": text}
    )


def _not_accepted_fall(case: Case) -> str:
    """Return the figures that rule out a rollover and a restart."""
    if case.value < 0:
        return _("Um registrador não mostra valor negativo.")
    if case.preview.limit is None:
        return ""
    numbers = {"allowed": case.allowed, "restart": case.amount(case.value)}
    if case.preview.as_rollover is None:
        return _("Permitido: %(allowed)s. Contados de zero seriam %(restart)s.") % numbers
    text = _("Permitido: %(allowed)s. Como virada seriam %(rollover)s; contados de zero, %(restart)s.")
    return text % {**numbers, "rollover": case.amount(case.preview.as_rollover)}


CAUSES: dict[str, Callable[[Case], str]] = {
    CLASSES.TROCA: _changed,
    CLASSES.VIRADA: _rolled_over,
    CLASSES.REINICIO: _restarted,
    CLASSES.QUEDA: _dipped,
    CLASSES.SUSPEITA: _not_accepted,
    CLASSES.IMPLAUSIVEL: _not_accepted,
}


def _outcome(row: LeituraEmRevisao, case: Case | None) -> str:
    """Return what counts now."""
    if row.situacao == row.Situacao.DESCARTADA:
        return _("Foi descartada: fica fora de tudo.")
    if not row.classe:
        return _outcome_of_ordinary(case)
    if row.classe == CLASSES.IMPLAUSIVEL:
        return _(
            "As três leituras seguintes continuaram a partir desta, "
            "mas o salto não conta até que alguém decida."
        )
    if row.classe == CLASSES.SUSPEITA:
        waits = row.situacao == row.Situacao.ESPERA
        return (
            _("Não conta enquanto as próximas leituras, ou alguém, não decidirem.")
            if waits
            else _("As leituras seguintes a desmentiram: não conta.")
        )
    if row.classe == CLASSES.QUEDA or row.consumo is None or case is None:
        return _("Não conta.")
    text = _("Contam %(amount)s, no mínimo.") if row.classe == CLASSES.REINICIO else _("Contam %(amount)s.")
    return text % {"amount": case.counted(row.consumo)}


def _outcome_of_ordinary(case: Case | None) -> str:
    """Return what counts of a reading in which the ledger finds nothing any more."""
    accepted = case.preview.if_approved if case else None
    if case is None or accepted is None or accepted.kind != "NORMAL":
        return ""
    return _("Foi aprovada: contam %(amount)s.") % {"amount": case.counted(accepted.amount)}


def effect_of_approval(row: LeituraEmRevisao, case: Case | None) -> str:
    """Return what counts once the reading is judged as if no maximum were known."""
    if case is None or row.inicio is None:
        return _("A leitura é julgada como se o consumo máximo por hora não fosse conhecido.")
    zone = row.conta.zone
    accepted = case.preview.if_approved
    counted = accepted.amount if accepted else Decimal(0)
    text = {
        CLASSES.TROCA: _(
            "Com a troca registrada, passam a contar %(amount)s, repartidos entre %(start)s e %(end)s."
        ),
        "NORMAL": _("Passam a contar %(amount)s, repartidos entre %(start)s e %(end)s."),
        CLASSES.VIRADA: _(
            "Passam a contar %(amount)s, como virada do registrador, repartidos entre %(start)s e %(end)s."
        ),
        CLASSES.REINICIO: _(
            "Passam a contar %(amount)s, no mínimo, como reinício do registrador, "
            "repartidos entre %(start)s e %(end)s."
        ),
    }.get(accepted.kind if accepted else "")
    if text is None:
        text = _("Continua sem contar: nem sem o consumo máximo por hora ela combina com a base.")
    sentence = text % {
        "amount": case.counted(counted),
        "start": clock(row.inicio, zone),
        "end": clock(row.leitura_em, zone),
    }
    if row.classe == CLASSES.SUSPEITA:
        sentence += " " + _("As leituras seguintes passam a ser julgadas a partir desta.")
    return sentence


def effect_of_discard(row: LeituraEmRevisao, case: Case | None) -> str:
    """Return the effect of discarding it."""
    text = _("A leitura fica fora de tudo, como se não tivesse chegado.")
    if row.classe == CLASSES.TROCA:
        then = _("A troca continua: a próxima leitura passa a ser a primeira do medidor novo.")
    elif row.classe == CLASSES.IMPLAUSIVEL:
        then = _(
            "As seguintes continuam: a próxima passa a ser o salto. "
            "Se o medidor foi trocado, registre a troca em vez disso."
        )
    elif case:
        then = _("A próxima é julgada contra a base, %(base)s.") % {"base": case.amount(case.base)}
    else:
        then = ""
    return f"{text} {then}".strip()


def effect_of_undoing(row: LeituraEmRevisao, case: Case | None) -> str:
    """Return the effect of undoing the decision."""
    return _(
        "A leitura volta a ser julgada só pelas regras; "
        "a decisão e o motivo de desfazê-la ficam na auditoria."
    )


def suggested_change(row: LeituraEmRevisao) -> tuple[Decimal, Decimal]:
    """Return final and initial value of a meter change that would explain ``row``.

    The old meter ended at the base; the new one showed this reading, or began at zero if the ledger counted
    from there.
    """
    assert row.valor is not None and row.valor_base is not None  # noqa: PT018 - one condition: it has a base
    return row.valor_base, Decimal(0) if row.classe == CLASSES.REINICIO else row.valor


def effect_of_change(row: LeituraEmRevisao, case: Case | None) -> str:
    """Return the consumption with the suggested values."""
    text = _(
        "O consumo do trecho passa a ser (final − base) + (leitura − inicial): "
        "com os valores sugeridos, %(amount)s."
    )
    if case is None:
        return text % {"amount": Decimal(0)}
    return text % {"amount": case.counted(case.preview.with_change(*suggested_change(row)))}
