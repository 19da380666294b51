"""Why a reading is under review and what each decision does to it, in words and with the numbers that the ledger compares."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from django.utils.translation import gettext as _

from tds_new.admin.formats import clock, elapsed, number, quantity
from tds_new.models import LeituraEmRevisao, OcorrenciaMedicao, TrocaMedidor
from tds_new.models.medicao import maximo_plausivel, parametros_em, partes_com_trocas, trocas_entre
from tds_new.models.parametros import ParametrosMedicao

CLASSES = OcorrenciaMedicao.Classe
UNBELIEVED = (CLASSES.SUSPEITA, CLASSES.IMPLAUSIVEL)


@dataclass(frozen=True)
class Case:
    """A reading under review that has a base, with all that it is judged by."""

    row: LeituraEmRevisao
    base: Decimal
    value: Decimal
    time: str  # how long after its base it was read
    parameters: ParametrosMedicao
    limit: Decimal | None
    swaps: list[TrocaMedidor]

    def amount(self, value: Decimal | None) -> str:
        """``value`` with the register's unit."""
        return quantity(value, self.row.dispositivo.unidade)

    def counted(self, value: Decimal) -> str:
        """What ``value`` of the register counts."""
        factor = self.parameters.fator_conversao
        return (
            self.amount(value)
            if factor == 1 or not value
            else f"{number(value)} × {number(factor)} = {self.amount(value * factor)}"
        )

    @property
    def allowed(self) -> str:
        """``7,6 kWh em 15 min (30,4 kWh/h)``."""
        hourly = quantity(self.parameters.consumo_maximo_hora, f"{self.row.dispositivo.unidade}/h")
        return _("%(limit)s em %(time)s (%(hourly)s)") % {
            "limit": self.amount(self.limit),
            "time": self.time,
            "hourly": hourly,
        }

    @property
    def parts(self) -> list[Decimal]:
        """What each meter counted, where it was changed."""
        return partes_com_trocas(self.base, self.swaps, self.value)

    @property
    def as_rollover(self) -> Decimal | None:
        """What it counts if the register wrapped; None where it is not known to."""
        modulus = self.parameters.valor_maximo_registro
        return None if modulus is None else modulus - self.base + self.value


def case_of(row: LeituraEmRevisao) -> Case | None:
    """``row`` with what it is judged by; None where it has no base: somebody has decided on a reading that nothing was wrong with."""
    if row.inicio is None or row.valor is None or row.valor_base is None:
        return None
    device = row.dispositivo
    return Case(
        row=row,
        base=row.valor_base,
        value=row.valor,
        time=elapsed(row.leitura_em - row.inicio),
        parameters=parametros_em(device, row.leitura_em),
        limit=maximo_plausivel(device, row.inicio, row.leitura_em),
        swaps=trocas_entre(device, row.inicio, row.leitura_em),
    )


def why(row: LeituraEmRevisao, case: Case | None) -> str:
    """What is out of the ordinary, and what counts now."""
    told = CAUSES.get(row.classe or row.classe_decisao)
    cause = told(case) if told and case else _("As regras não viam nada de incomum nesta leitura.")
    return f"{cause} {_outcome(row, case)}".strip()


def _fell(case: Case) -> str:
    return _("O registrador caiu de %(base)s para %(value)s em %(time)s") % {
        "base": case.amount(case.base), "value": case.amount(case.value), "time": case.time,
    }  # fmt: skip


def _swapped(case: Case) -> str:
    if len(case.swaps) != 1:
        return _("Entre a base e esta leitura o medidor foi trocado.")
    old, new = case.parts
    text = _("Entre a base e esta leitura o medidor foi trocado: %(old)s no antigo e %(new)s no novo.")
    return text % {"old": case.amount(old), "new": case.amount(new)}


def _rolled_over(case: Case) -> str:
    if case.as_rollover is None:
        return f"{_fell(case)}."
    text = _("%(fell)s, e volta a zero em %(modulus)s: %(rest)s até a virada e %(value)s depois dela.")
    modulus = case.parameters.valor_maximo_registro or Decimal(0)
    amounts = {
        "modulus": case.amount(modulus),
        "rest": case.amount(modulus - case.base),
        "value": case.amount(case.value),
    }
    return text % {"fell": _fell(case), **amounts}


def _restarted(case: Case) -> str:
    return _("%(fell)s: recomeçou de zero.") % {"fell": _fell(case)}


def _dipped(case: Case) -> str:
    return _("%(fell)s, dentro da tolerância de %(tolerance)s.") % {
        "fell": _fell(case), "tolerance": case.amount(case.parameters.tolerancia_queda),
    }  # fmt: skip


def _unbelieved(case: Case) -> str:
    if case.swaps:
        return _unbelieved_with_a_swap(case)
    if case.value < case.base:
        return f"{_fell(case)}. {_unbelieved_fall(case)}".strip()
    jump = case.amount(case.value - case.base)
    if case.limit is None:
        return _("Foram %(jump)s em %(time)s.") % {"jump": jump, "time": case.time}
    return _("Permitido: %(allowed)s. Foram %(jump)s.") % {"allowed": case.allowed, "jump": jump}


def _unbelieved_with_a_swap(case: Case) -> str:
    amount = sum(case.parts, Decimal(0))
    if amount < 0:
        return _("Com a troca registrada seriam %(amount)s, menos que nada.") % {
            "amount": case.amount(amount)
        }
    text = _("Com a troca registrada foram %(amount)s.") % {"amount": case.amount(amount)}
    return (
        text
        if case.limit is None
        else _("Permitido: %(allowed)s. %(text)s") % {"allowed": case.allowed, "text": text}
    )


def _unbelieved_fall(case: Case) -> str:
    """Neither a rollover nor a restart: by which numbers."""
    if case.value < 0:
        return _("Um registrador não mostra valor negativo.")
    if case.limit is None:
        return ""
    numbers = {"allowed": case.allowed, "restart": case.amount(case.value)}
    if case.as_rollover is None:
        return _("Permitido: %(allowed)s. Contados de zero seriam %(restart)s.") % numbers
    text = _("Permitido: %(allowed)s. Como virada seriam %(rollover)s; contados de zero, %(restart)s.")
    return text % {**numbers, "rollover": case.amount(case.as_rollover)}


CAUSES: dict[str, Callable[[Case], str]] = {
    CLASSES.TROCA: _swapped,
    CLASSES.VIRADA: _rolled_over,
    CLASSES.REINICIO: _restarted,
    CLASSES.QUEDA: _dipped,
    CLASSES.SUSPEITA: _unbelieved,
    CLASSES.IMPLAUSIVEL: _unbelieved,
}


def _outcome(row: LeituraEmRevisao, case: Case | None) -> str:
    """What counts now."""
    if row.situacao == row.Situacao.DESCARTADA:
        return _("Foi descartada: fica fora de tudo.")
    if not row.classe:
        counts = case is not None and case.value >= case.base
        return (
            _("Foi aprovada: contam %(amount)s.") % {"amount": case.counted(case.value - case.base)}
            if case and counts
            else ""
        )
    if row.classe == CLASSES.IMPLAUSIVEL:
        return _(
            "As três leituras seguintes continuaram a partir desta, mas o salto não conta até que alguém decida."
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


def effect_of_approval(row: LeituraEmRevisao, case: Case | None) -> str:
    """What counts once the reading is judged as if no maximum were known."""
    if case is None or row.inicio is None:
        return _("A leitura é julgada como se o consumo máximo por hora não fosse conhecido.")
    zone = row.conta.zone
    span = {"start": clock(row.inicio, zone), "end": clock(row.leitura_em, zone)}
    text, counted = _believed(case)
    said = text % {"amount": case.counted(counted), **span}
    if row.classe == CLASSES.SUSPEITA:
        said += " " + _("As leituras seguintes passam a ser julgadas a partir desta.")
    return said


def _believed(case: Case) -> tuple[str, Decimal]:
    """Rules 1, 2, 4 and 5 of docs/metering.md with the maximum unknown: what is said, and how much counts."""
    modulus, rollover = case.parameters.valor_maximo_registro, case.as_rollover
    if case.swaps and sum(case.parts) >= 0:
        return _(
            "Com a troca registrada, passam a contar %(amount)s, repartidos entre %(start)s e %(end)s."
        ), sum(case.parts, Decimal(0))
    if not case.swaps and case.value >= case.base:
        return _("Passam a contar %(amount)s, repartidos entre %(start)s e %(end)s."), case.value - case.base
    if (
        not case.swaps
        and modulus is not None
        and rollover is not None
        and rollover >= 0
        and case.base * 10 >= modulus * 9
    ):
        return _(
            "Passam a contar %(amount)s, como virada do registrador, repartidos entre %(start)s e %(end)s."
        ), rollover
    if not case.swaps and case.value >= 0:
        return _(
            "Passam a contar %(amount)s, no mínimo, como reinício do registrador, repartidos entre %(start)s e %(end)s."
        ), case.value
    return _("Continua sem contar: nem sem o consumo máximo por hora ela combina com a base."), Decimal(0)


def effect_of_discard(row: LeituraEmRevisao, case: Case | None) -> str:
    """What is left out."""
    text = _("A leitura fica fora de tudo, como se não tivesse chegado.")
    if row.classe == CLASSES.TROCA:
        then = _("A troca continua: a próxima leitura passa a ser a primeira do medidor novo.")
    elif row.classe == CLASSES.IMPLAUSIVEL:
        then = _(
            "As seguintes continuam: a próxima passa a ser o salto. Se o medidor foi trocado, registre a troca em vez disso."
        )
    elif case:
        then = _("A próxima é julgada contra a base, %(base)s.") % {"base": case.amount(case.base)}
    else:
        then = ""
    return f"{text} {then}".strip()


def effect_of_undoing(row: LeituraEmRevisao, case: Case | None) -> str:
    """What the reading is again."""
    return _(
        "A leitura volta a ser julgada só pelas regras; a decisão e o motivo de desfazê-la ficam na auditoria."
    )


def effect_of_change(row: LeituraEmRevisao, case: Case | None) -> str:
    """What counts with the values that are suggested."""
    text = _(
        "O consumo do trecho passa a ser (final − base) + (leitura − inicial): com os valores sugeridos, %(amount)s."
    )
    counted = case.value if case and row.classe == CLASSES.REINICIO else Decimal(0)
    return text % {"amount": case.counted(counted) if case else counted}
