"""Why a reading is under review, and what counts of it now, in words.

The figures are those of the rule that judged it (``tds_new.metering.rules.segments.Occurrence`` names them).
"""

from collections.abc import Callable
from decimal import Decimal

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from tds_new.admin.cases import CLASSES, KINDS, SITUATIONS, Case
from tds_new.formats import exact_duration, register, register_with_unit
from tds_new.metering.preview import FOLLOWERS
from tds_new.models import RevisaoLeitura

DECISIONS = RevisaoLeitura.Decisao


def why(case: Case) -> str:
    """Return what is out of the ordinary in a reading."""
    row = case.row
    explain = CAUSES.get(row.classe or row.classe_decisao)
    if explain is None:
        return _("As regras não veem nada de incomum nesta leitura.")
    return explain(case)


def _moved(case: Case) -> str:
    """Return how the register went from its base to the reading, without a full stop."""
    names = {"base": case.amount(case.base), "value": case.amount(case.value), "time": case.time}
    if case.value < case.base:
        return _("O registrador caiu de %(base)s para %(value)s em %(time)s") % names
    return _("O registrador subiu de %(base)s para %(value)s em %(time)s") % names


def _above(case: Case) -> str:
    """Return the limit that it is above, as a sentence; empty if it is above none."""
    measured = case.measured
    amount = abs(case.rise) if case.kind == KINDS.SALDO else case.rise
    if measured is None or measured.limit is None or amount <= measured.limit:
        return ""
    return _("O plausível seria até %(allowed)s.") % {"allowed": case.allowed}


def _below(case: Case) -> str:
    """Return how far a register may fall, as a sentence; empty if it did not fall."""
    if case.measured is None or case.rise >= 0 or case.kind == KINDS.SALDO:
        return ""
    text = _("Um registrador só oscila para baixo até a tolerância de %(tolerance)s.")
    return text % {"tolerance": case.amount(case.measured.dip_tolerance)}


def _sentences(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _changed(case: Case) -> str:
    if case.measured is None or len(case.measured.changes) != 1:
        return _("Entre a base e esta leitura o medidor foi trocado mais de uma vez.")
    old, new = case.measured.parts
    text = _("Entre a base e esta leitura o medidor foi trocado: %(old)s no antigo e %(new)s no novo.")
    return text % {"old": case.amount(old), "new": case.amount(new)}


def _dipped(case: Case) -> str:
    return _("%(moved)s, dentro da tolerância de %(tolerance)s: uma oscilação do último dígito.") % {
        "moved": _moved(case),
        "tolerance": case.amount(case.number("tolerancia")),
    }


def _rolled_over(case: Case) -> str:
    capacity = case.number("capacidade")
    if capacity is None:
        return _sentences(f"{_moved(case)}.", _unusual(case))
    text = _("%(moved)s: o registrador volta a zero em %(capacity)s; %(rest)s até lá e %(value)s depois.")
    said = text % {
        "moved": _moved(case),
        "capacity": case.amount(capacity),
        "rest": case.amount(capacity - case.base),
        "value": case.amount(case.value),
    }
    return _sentences(said, _unusual(case))


def _restarted(case: Case) -> str:
    if case.row.regra == "1":
        return _("%(moved)s. Alguém decidiu que o registrador recomeçou do zero.") % {"moved": _moved(case)}
    said = _(
        "%(moved)s, e as três leituras seguintes continuaram dali: o registrador recomeçou do zero. "
        "O que ele contou antes disso não se sabe."
    )
    doubt = _doubtful_restart(case) if case.number("duvida") else ""
    return _sentences(said % {"moved": _moved(case)}, doubt)


def _doubtful_restart(case: Case) -> str:
    """Return why a restart is in doubt: it would have counted too much since."""
    rate = case.amount(case.number("ritmo_x3"))
    names = {"value": case.amount(case.value), "time": case.time, "rate": rate}
    limit = case.number("limite")
    if limit is not None and case.value > limit:
        text = _(
            "Há dúvida: contados do zero seriam %(value)s em %(time)s, e o plausível seria até %(limit)s."
        )
        return text % {**names, "limit": case.amount(limit)}
    return (
        _(
            "Há dúvida: contados do zero seriam %(value)s em %(time)s, mais que três vezes o ritmo dele "
            "(%(rate)s). Pode ter voltado a um total guardado."
        )
        % names
    )


def _too_fast(case: Case) -> str:
    text = _(
        "O registrador subiu %(rise)s em %(time)s. O plausível seria até %(allowed)s. As três leituras "
        "seguintes foram rápidas também (três vezes o ritmo delas seriam %(rate)s no mesmo tempo): o "
        "dispositivo é mesmo assim, e o máximo por hora está baixo demais."
    )
    return text % {
        "rise": case.amount(case.rise),
        "time": case.time,
        "allowed": case.allowed,
        "rate": case.amount(case.number("mediana_x3")),
    }


def _implausible(case: Case) -> str:
    if case.kind == KINDS.INCREMENTAL:
        return _implausible_increment(case)
    if case.measured is not None and case.measured.changes:
        return _sentences(_jump_with_a_change(case), _above(case), _went_on())
    if case.kind == KINDS.SALDO:
        text = _("O saldo foi de %(base)s a %(value)s em %(time)s.")
        names = {"base": case.amount(case.base), "value": case.amount(case.value), "time": case.time}
        return _sentences(text % names, _above(case), _went_on())
    if case.rise < 0:
        return _sentences(f"{_moved(case)}.", _went_on(), _no_rollover(case), _no_restart(case))
    slower = _(
        "As três leituras seguintes continuaram deste valor, mas sem essa pressa: três vezes o ritmo delas "
        "seriam %(rate)s no mesmo tempo."
    )
    return _sentences(
        f"{_moved(case)}.", _above(case), slower % {"rate": case.amount(case.number("mediana_x3"))}
    )


def _went_on() -> str:
    return _("As três leituras seguintes continuaram deste valor.")


def _implausible_increment(case: Case) -> str:
    limit = case.number("limite")
    value = case.amount(case.value)
    if limit is None:
        return _("O incremento é de %(value)s.") % {"value": value}
    text = _("O incremento é de %(value)s, e o plausível para o intervalo dele seria até %(limit)s.")
    return text % {"value": value, "limit": case.amount(limit)}


def _jump_with_a_change(case: Case) -> str:
    names = {"amount": case.amount(case.rise), "time": case.time}
    if case.rise < 0:
        return _("Com a troca registrada seriam %(amount)s em %(time)s, menos que nada.") % names
    return _("Com a troca registrada seriam %(amount)s em %(time)s.") % names


def _no_rollover(case: Case) -> str:
    """Return why a fall is no rollover."""
    measured = case.measured
    if measured is None or measured.capacity is None:
        return _("Não se sabe em que valor o registrador vira.")
    rollover = measured.capacity - case.base + case.value
    if rollover < 0:
        return _("Não é uma virada: a base já passa de %(capacity)s, o máximo do registrador.") % {
            "capacity": case.amount(measured.capacity)
        }
    return _("Como virada seriam %(rollover)s, demais.") % {"rollover": case.amount(rollover)}


def _no_restart(case: Case) -> str:
    """Return why a fall is no restart."""
    if case.value < 0:
        return _("Um registrador que recomeça não mostra valor negativo.")
    return _("Para um recomeço do zero, %(value)s é demais.") % {"value": case.amount(case.value)}


def _suspect(case: Case) -> str:
    explain = {"1": _overruled, "2": _came_back, "3": _came_back_later, "6a": _outliers_before}
    return explain.get(case.row.regra, _still_waits)(case)


def _overruled(case: Case) -> str:
    when = case.at(case.decided_by[0] if case.decided_by else None)
    text = _("%(moved)s. Esperava por outras leituras quando alguém decidiu sobre a de %(when)s.")
    return text % {"moved": _moved(case), "when": when}


def _came_back(case: Case) -> str:
    """Rule 2: it fell to 0, say, and 15 minutes later it was back."""
    first, last, how_many = case.number("primeira"), case.number("ultima"), case.count("quantas")
    last_at = case.moment("ultima_em")
    elapsed = case.decided_by[0] - last_at if case.decided_by and last_at else case.elapsed
    names = {
        "base": case.amount(case.base),
        "value": case.amount(case.value),
        "plain": register(case.value),
        "first": case.amount(first),
        "last": case.amount(last),
        "later": exact_duration(elapsed),
        "back": case.amount(case.number("decisiva")),
        "n": how_many,
    }
    fell = first is not None and first < case.base
    if how_many <= 1:
        text = (
            _(
                "O registrador caiu de %(base)s para %(value)s; %(later)s depois voltou a %(back)s; o "
                "%(plain)s não conta."
            )
            if fell
            else _(
                "O registrador subiu de %(base)s para %(value)s; %(later)s depois voltou a %(back)s; o "
                "%(plain)s não conta."
            )
        )
    else:
        text = (
            _(
                "O registrador caiu de %(base)s para %(first)s e assim ficou por %(n)d leituras, até "
                "%(last)s; %(later)s depois voltou a %(back)s; nenhuma delas conta."
            )
            if fell
            else _(
                "O registrador subiu de %(base)s para %(first)s e assim ficou por %(n)d leituras, até "
                "%(last)s; %(later)s depois voltou a %(back)s; nenhuma delas conta."
            )
        )
    doubt = _doubtful_return(case) if case.number("duvida") else ""
    return _sentences(text % names, "" if fell else _above(case), doubt)


def _doubtful_return(case: Case) -> str:
    first, last = case.number("primeira"), case.number("ultima")
    moved = None if first is None or last is None else last - first
    text = _(
        "Há dúvida: nessas leituras ele andou %(moved)s, mais do que da base até voltar. Pode ter recomeçado "
        "do zero, e não voltado."
    )
    return text % {"moved": case.amount(moved)}


def _came_back_later(case: Case) -> str:
    """Rule 3."""
    first, since = case.number("primeira"), case.number("desde")
    fell = first is not None and since is not None and first < since
    how_many = case.count("quantas")
    text = (
        ngettext(
            "Em %(first_at)s o registrador caiu de %(since)s para %(first)s e ficou assim por "
            "%(n)d leitura; em %(when)s voltou a %(back)s, para onde estaria sem a queda.",
            "Em %(first_at)s o registrador caiu de %(since)s para %(first)s e ficou assim por "
            "%(n)d leituras; em %(when)s voltou a %(back)s, para onde estaria sem a queda.",
            how_many,
        )
        if fell
        else ngettext(
            "Em %(first_at)s o registrador subiu de %(since)s para %(first)s e ficou assim por "
            "%(n)d leitura; em %(when)s voltou a %(back)s, para onde estaria sem o salto.",
            "Em %(first_at)s o registrador subiu de %(since)s para %(first)s e ficou assim por "
            "%(n)d leituras; em %(when)s voltou a %(back)s, para onde estaria sem o salto.",
            how_many,
        )
    )
    said = text % {
        "first_at": case.at(case.moment("primeira_em")),
        "since": case.amount(since),
        "first": case.amount(first),
        "n": how_many,
        "when": case.at(case.decided_by[0] if case.decided_by else None),
        "back": case.amount(case.number("decisiva")),
    }
    if not case.number("duvida"):
        return _sentences(said, _withdrawn(case))
    doubt = _("Há dúvida: pode ter sido consumo de um registrador que recomeçou do zero.")
    return _sentences(said, _withdrawn(case), doubt)


def _withdrawn(case: Case) -> str:
    """Return what had been counted and was withdrawn; empty if that was nothing."""
    withdrawn = case.number("retirado")
    if not withdrawn:
        return ""
    text = _("O que tinha sido contado nesse tempo, %(amount)s, foi retirado.")
    return text % {"amount": case.counted(withdrawn)}


def _outliers_before(case: Case) -> str:
    """Rule 6a."""
    text = _(
        "Depois de %(since_at)s o registrador subiu %(rise)s acima de %(since)s, mais do que três vezes o "
        "ritmo das leituras que vieram depois (%(rate)s); em %(back_at)s estava em %(back)s e seguiu dali. "
        "As leituras altas é que eram estranhas."
    )
    said = text % {
        "since_at": case.at(case.moment("desde_em")),
        "rise": case.amount(case.number("subida")),
        "since": case.amount(case.number("desde")),
        "rate": case.amount(case.number("ritmo_x3")),
        "back_at": case.at(case.moment("retorno_em")),
        "back": case.amount(case.number("retorno")),
    }
    return _sentences(said, _withdrawn(case))


def _still_waits(case: Case) -> str:
    """Rule 5: it waits for followers, or its chain has ended before they came."""
    moved = _sentences(f"{_moved(case)}.", _above(case), _below(case))
    if case.decided_by is not None:
        text = _(
            "Esperava por outras leituras quando, em %(when)s, começou outra série: de outra conta, tipo ou "
            "unidade."
        )
        return _sentences(moved, text % {"when": case.at(case.decided_by[0])})
    said = _came_so_far(case.count("seguintes"))
    late = (
        _("Já passou o tempo de elas chegarem: alguém pode decidir.")
        if case.row.situacao == SITUATIONS.ESPERA
        else ""
    )
    return _sentences(moved, said, late)


def _came_so_far(came: int) -> str:
    """Return how many readings have followed one that waits for three."""
    if not came:
        text = _("O que foi só se sabe com %(needed)d leituras depois dela; ainda não chegou nenhuma.")
        return text % {"needed": FOLLOWERS}
    text = ngettext(
        "O que foi só se sabe com %(needed)d leituras depois dela; chegou %(n)d.",
        "O que foi só se sabe com %(needed)d leituras depois dela; chegaram %(n)d.",
        came,
    )
    return text % {"needed": FOLLOWERS, "n": came}


def _unusual(case: Case) -> str:
    """INCOMUM, and what makes a rollover wait: the figures of the hours around it."""
    held, largest = case.consumption("nestas_horas"), case.consumption("maior_hora")
    if held is None or largest is None:
        return ""
    names = {
        "held": register_with_unit(held, case.consumption_unit),
        "times": case.count("vezes"),
        "largest": register_with_unit(largest, case.consumption_unit),
    }
    if case.count("vezes") == 1:
        text = _(
            "A série começou com o valor 0, e as horas até esta leitura têm %(held)s: mais que a maior hora "
            "dos 7 dias antes e das 24 h depois, que tem %(largest)s. Talvez o 0 não tenha sido uma leitura."
        )
    else:
        text = _(
            "As horas em que esta leitura e a base caem têm %(held)s: por hora, mais de %(times)d vezes a "
            "maior hora dos 7 dias antes e das 24 h depois, que tem %(largest)s."
        )
    return text % names


def _returned(case: Case) -> str:
    return _(
        "%(moved)s. Alguém decidiu que o consumo segue daqui sem contar o salto: o registrador voltou a um "
        "total guardado, ou ninguém sabe o que houve."
    ) % {"moved": _moved(case)}


def _transferred(case: Case) -> str:
    contas = case.contas()
    text = _(
        "Entre %(start)s e %(end)s o dispositivo passou de %(old)s para %(new)s, e o registrador foi de "
        "%(base)s a %(value)s."
    )
    return text % {
        "start": case.at(case.row.inicio),
        "end": case.at(case.row.leitura_em),
        "old": contas[0] if contas else "",
        "new": contas[-1] if contas else "",
        "base": case.amount(case.base),
        "value": case.amount(case.value),
    }


CAUSES: dict[str, Callable[[Case], str]] = {
    CLASSES.TROCA: _changed,
    CLASSES.QUEDA: _dipped,
    CLASSES.VIRADA: _rolled_over,
    CLASSES.REINICIO: _restarted,
    CLASSES.SUSPEITA: _suspect,
    CLASSES.IMPLAUSIVEL: _implausible,
    CLASSES.EXCESSO: _too_fast,
    CLASSES.INCOMUM: _unusual,
    CLASSES.RETORNO: _returned,
    CLASSES.TRANSFERENCIA: _transferred,
}


def counts_now(case: Case) -> str:
    """Return what counts of the reading now, and how it is spread."""
    row = case.row
    if row.decisao_codigo == DECISIONS.DESCARTADA:
        return _("Foi descartada: fica fora de tudo.")
    if row.classe == CLASSES.TRANSFERENCIA and row.consumo is not None:
        return _attributed(case, row.consumo)
    if row.classe in NOTHING_COUNTS:
        return NOTHING_COUNTS[row.classe](case)
    if row.classe == CLASSES.REINICIO and not row.consumo and case.count("duvida"):
        return _("Nada conta até que alguém decida.") if case.waits else _("Nada conta.")
    amount = _amount(case)
    if amount is None:
        return _("Conta como as leituras comuns.")
    if row.inicio is None or not row.inicio < row.leitura_em:
        return _("Contam %(amount)s.") % {"amount": case.counted(amount)}
    names = {"amount": case.counted(amount), "start": case.at(row.inicio), "end": case.at(row.leitura_em)}
    if row.classe == CLASSES.REINICIO:
        return _("Contam %(amount)s, no mínimo, repartidos entre %(start)s e %(end)s.") % names
    return _("Contam %(amount)s, repartidos entre %(start)s e %(end)s.") % names


def _amount(case: Case) -> Decimal | None:
    """Return what it counts, in the register's unit; None if that is not known."""
    if case.row.consumo is not None:
        return case.row.consumo
    if case.kind == KINDS.INCREMENTAL:
        return case.value
    return case.rise if case.measured is not None else None


def _nothing_of_a_suspect(case: Case) -> str:
    if case.row.situacao == SITUATIONS.AGUARDA:
        return _("Por enquanto não conta. Não há nada a fazer: as próximas leituras decidem.")
    if case.row.situacao == SITUATIONS.ESPERA and case.decided_by is not None:
        return _("Não conta, a não ser que alguém decida outra coisa.")
    if case.row.situacao == SITUATIONS.ESPERA:
        return _("Não conta enquanto as próximas leituras, ou alguém, não decidirem.")
    return _("Nada desta leitura: as vizinhas contam como se ela não tivesse chegado.")


def _nothing_of_a_jump(case: Case) -> str:
    if case.kind == KINDS.INCREMENTAL:
        return (
            _("O incremento não conta até que alguém decida.") if case.waits else _("O incremento não conta.")
        )
    if case.row.situacao == SITUATIONS.ESPERA:
        return _("O salto não conta até que alguém decida.")
    return _("O salto não conta.")


def _attributed(case: Case, amount: Decimal) -> str:
    conta = case.row.decisao.atribuida_a if case.row.decisao else None
    text = _("Contam %(amount)s para %(conta)s, repartidos entre %(start)s e %(end)s.")
    return text % {
        "amount": case.counted(amount),
        "conta": conta or "",
        "start": case.at(case.row.inicio),
        "end": case.at(case.row.leitura_em),
    }


def _nothing_of_a_transfer(case: Case) -> str:
    if case.row.situacao == SITUATIONS.ESPERA:
        return _("O consumo entre as duas não conta para nenhuma das contas até que alguém diga para qual.")
    return _("O consumo entre as duas não conta para nenhuma das contas.")


NOTHING_COUNTS: dict[str, Callable[[Case], str]] = {
    CLASSES.SUSPEITA: _nothing_of_a_suspect,
    CLASSES.IMPLAUSIVEL: _nothing_of_a_jump,
    CLASSES.QUEDA: lambda _case: _("Não conta; a base fica com o valor de antes."),
    CLASSES.RETORNO: lambda _case: _("O salto não conta; o consumo segue daqui."),
    CLASSES.TRANSFERENCIA: _nothing_of_a_transfer,
}


def suggested_change(case: Case) -> tuple[Decimal, Decimal]:
    """Return final and initial value of a meter change that would explain a reading.

    The old meter ended at the base; the new one showed this reading, or began at zero if the ledger counted
    from there.
    """
    return case.base, Decimal(0) if case.row.classe == CLASSES.REINICIO else case.value
