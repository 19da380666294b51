"""A reading among its neighbours, as the review pages show it."""

from dataclasses import dataclass

from django.utils.html import format_html
from django.utils.translation import gettext as _

from tds_new.admin.cases import CLASSES, Case
from tds_new.formats import MISSING, clock, clock_with_zone, register, register_with_unit
from tds_new.models import LeituraEmRevisao, RevisaoLeitura, TrocaMedidor
from tds_new.queries.neighbours import NearbyReading

SYMBOLS = {
    CLASSES.SUSPEITA: "◆",
    CLASSES.IMPLAUSIVEL: "▲",
    CLASSES.EXCESSO: "▲",
    CLASSES.INCOMUM: "△",
    CLASSES.REINICIO: "≈",
    CLASSES.RETORNO: "↩",
    CLASSES.VIRADA: "↻",
    CLASSES.TROCA: "⇄",
    CLASSES.TRANSFERENCIA: "⇄",
    CLASSES.QUEDA: "▽",
    "ESPERA": "▲",
    "AGUARDA": "◔",
    "RESOLVIDA": "○",
    "APROVADA": "✓",
    "ATRIBUIDA": "✓",
    "VISTA": "✓",
    "CORRIGIDA": "✎",
    "DESCARTADA": "✕",
}


@dataclass(frozen=True)
class Neighbour:
    """A line of the table of neighbouring readings."""

    when: str
    value: str
    difference: str
    badges: list[str]
    here: bool
    base: bool


def badge(kind: str, text: str) -> str:
    """Return a word with its symbol and colour."""
    return format_html(
        '<span class="badge badge-{}"><span aria-hidden="true">{}</span> {}</span>',
        kind.lower(),
        SYMBOLS.get(kind, ""),
        text,
    )


def neighbours(row: LeituraEmRevisao, around: list[NearbyReading]) -> list[Neighbour]:
    """Return the readings around ``row``, each with its difference to the one before.

    Times are the Conta's. A corrected value stands for the received one, which is shown struck out.
    """
    lines, zone = [], row.conta.zone
    counted = [r.valor if r.valor_corrigido is None else r.valor_corrigido for r in around]
    for index, reading in enumerate(around):
        badges = [badge(reading.classe, str(CLASSES(reading.classe).label))] if reading.classe else []
        if reading.decisao:
            badges.append(badge(reading.decisao, str(RevisaoLeitura.Decisao(reading.decisao).label)))
        if reading.valor_corrigido is not None:
            badges.append(badge("CORRIGIDA", str(LeituraEmRevisao.Situacao.CORRIGIDA.label)))
        difference = register(counted[index] - counted[index - 1]) if index else MISSING
        place = (reading.time == row.leitura_em, reading.time == row.inicio)
        lines.append(Neighbour(clock(reading.time, zone), _value(reading), difference, badges, *place))
    return lines


def _value(reading: NearbyReading) -> str:
    if reading.valor_corrigido is None:
        return register(reading.valor)
    return format_html("<s>{}</s> {}", register(reading.valor), register(reading.valor_corrigido))


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


def changes_between(case: Case) -> list[TrocaMedidor]:
    """Return the meter changes between a reading and its base."""
    if case.measured is None or not case.measured.changes:
        return []
    found = TrocaMedidor.objects.filter(
        dispositivo=case.row.dispositivo_id, ocorrida_em__in=case.measured.changes
    )
    return list(found.order_by("ocorrida_em"))
