"""What a decision would change, in words: months, and readings judged otherwise."""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from tds_new.admin.cases import CLASSES, Case
from tds_new.formats import MINUS, month_year, register_with_unit
from tds_new.metering.preview import Effect, Entry, Judged, MonthEffect, what_if
from tds_new.models import Conta

SHOWN = Decimal("0.001")  # digits of a total that are shown, if that shows the difference


@dataclass(frozen=True)
class Told:
    """An effect in words.

    ``totals``: a line for each month. ``classes``: a line for each kind of change of a class. ``none``: no
    total changes.
    """

    totals: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    none: bool = False


def effects_of(case: Case, entries: list[Entry]) -> list[Told]:
    """Return what each entry about a reading would change, asked of the ledger."""
    row = case.row
    effects = what_if(row.dispositivo_id, row.leitura_em, entries, case.zone) if entries else []
    contas = {month.conta_id for effect in effects for month in effect.months}
    names = {pk: str(conta) for pk, conta in Conta.objects.in_bulk(contas).items()} if len(contas) > 1 else {}
    return [_told(case, entry, effect, names) for entry, effect in zip(entries, effects, strict=True)]


def _told(case: Case, entry: Entry, effect: Effect, contas: dict[int, str]) -> Told:
    if effect.waits_for_rebuild:
        return Told(totals=(rebuild_first(),))
    changed = [month for month in effect.months if month.before != month.after]
    if changed:
        totals = tuple(_changed(month, case.consumption_unit, contas) for month in changed)
    else:
        totals = tuple(_unchanged(month, case.consumption_unit, contas) for month in effect.months)
    return Told(totals or (_("Nenhum total muda."),), _classes(case, entry, effect), none=not changed)


def rebuild_first() -> str:
    """Return what becomes of an entry about a time before the present rules."""
    return _(
        "Esta leitura é de antes das regras atuais para este dispositivo: a decisão fica guardada, e só muda "
        "o consumo quando alguém rodar rebuild_consumption."
    )


def _changed(month: MonthEffect, unit: str, contas: dict[int, str]) -> str:
    difference = month.after - month.before
    places = SHOWN if month.before.quantize(SHOWN) != month.after.quantize(SHOWN) else None
    text = _("%(month)s: de %(before)s para %(after)s (%(difference)s)")
    return text % {
        "month": _named(month, contas),
        "before": _amount(month.before, unit, places),
        "after": _amount(month.after, unit, places),
        "difference": ("+" if difference > 0 else "") + _amount(difference, unit, places),
    }


def _unchanged(month: MonthEffect, unit: str, contas: dict[int, str]) -> str:
    text = _("%(month)s: continua com %(before)s")
    return text % {"month": _named(month, contas), "before": _amount(month.before, unit, SHOWN)}


def _named(month: MonthEffect, contas: dict[int, str]) -> str:
    name = month_year(month.month)
    return f"{contas[month.conta_id]}, {name}" if month.conta_id in contas else name


def _amount(value: Decimal, unit: str, places: Decimal | None) -> str:
    shown = value if places is None else value.quantize(places)
    return register_with_unit(shown, unit).replace(f"{MINUS}0 ", "0 ")


def _classes(case: Case, entry: Entry, effect: Effect) -> tuple[str, ...]:
    """Return how this reading and others would be judged; a discarded one is not."""
    lines = []
    others: Counter[tuple[Judged, Judged]] = Counter()
    for reading in effect.readings:
        if reading.time == case.row.leitura_em:
            if entry.decision == "DESCARTADA":
                continue
            names = {"before": _class_name(reading.before), "after": _class_name(reading.after)}
            lines.append(_("Esta leitura: de %(before)s para %(after)s") % names)
        else:
            others[reading.before, reading.after] += 1
    for (before, after), number in sorted(others.items()):
        text = ngettext(
            "Mais %(n)d leitura: de %(before)s para %(after)s",
            "Mais %(n)d leituras: de %(before)s para %(after)s",
            number,
        )
        lines.append(text % {"n": number, "before": _class_name(before), "after": _class_name(after)})
    return tuple(lines)


def _class_name(judged: Judged) -> str:
    """Return a class as people read it, with whether it waits for somebody."""
    name = str(CLASSES(judged.kind).label) if judged.kind else _("comum")
    return _("%(name)s (à espera)") % {"name": name} if judged.waits else name
