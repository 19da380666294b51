"""Words and figures that several blocks of the dashboard share."""

from datetime import UTC, datetime
from decimal import ROUND_FLOOR, Decimal

from django.utils.translation import gettext as _

from tds_new import formats
from tds_new.models import Dispositivo
from tds_new.queries.sums import BlockSum, Measure
from tds_new.web.dashboard.payload import Card
from tds_new.web.filters import Filter

COLOURS = {
    "ENERGIA": "energia",
    "POTENCIA": "energia",
    "AGUA": "agua",
    "GAS": "gas",
    "TEMPERATURA": "temperatura",
    "DEMANDA": "demanda",
}
# Below this share of measured blocks a comparison would mostly compare gaps.
COMPARABLE = Decimal("0.95")
LEAST_SHARE = Decimal("0.001")  # of shares as they are shown


def quantity_word(grandeza: str) -> str:
    """Return the word for a quantity."""
    return str(dict(Dispositivo.Grandeza.choices).get(grandeza, grandeza))


def role_word(papel: str) -> str:
    """Return the word for the role of a meter."""
    return {
        Dispositivo.Papel.CONSUMO: _("Consumo"),
        Dispositivo.Papel.INJECAO: _("Injeção"),
        Dispositivo.Papel.INFORMATIVO: _("Informativo"),
    }[Dispositivo.Papel(papel)]


def measure_word(measure: Measure) -> str:
    """Return the words for what a total is of: ``Energia``, or ``Energia injetada``."""
    quantity = quantity_word(measure.grandeza)
    if measure.papel != Dispositivo.Papel.INJECAO:
        return quantity
    if measure.grandeza == Dispositivo.Grandeza.ENERGIA:
        return _("Energia injetada")
    return _("%(grandeza)s, injeção") % {"grandeza": quantity}


def measure_id(measure: Measure) -> str:
    """Return the id of the card and the chart of a measure."""
    own = "" if measure.papel == Dispositivo.Papel.CONSUMO else f"-{measure.papel}"
    return f"{measure.grandeza}-{measure.unidade}{own}"


def colour(grandeza: str) -> str:
    """Return the name of a quantity's colour and icon; the less common ones share one."""
    return COLOURS.get(grandeza, "outra")


def iso(moment: datetime) -> str:
    """Return a moment in UTC with whole seconds, for the browser to count from."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def milliseconds(moment: datetime) -> int:
    """Return a moment in milliseconds since 1970."""
    return int(moment.timestamp() * 1000)


def window_title(filter_: Filter) -> str:
    """Return the window in words, both ends named."""
    window = filter_.window
    if not (filter_.first_day and filter_.last_day):
        return " – ".join(formats.date_time(moment, window.zone) for moment in (window.start, window.end))
    first, last = formats.date_text(filter_.first_day), formats.date_text(filter_.last_day)
    return first if first == last else f"{first} – {last}"


def percent(share: Decimal) -> str:
    """Return a share as ``99,2%``, cut and not rounded.

    So only the whole is 100%, and only zero is 0%.
    """
    if 0 < share < LEAST_SHARE:
        return _("menos de %(parte)s") % {"parte": f"{formats.number(LEAST_SHARE * 100, 1)}%"}
    cut = (share * 100).quantize(Decimal("0.1"), ROUND_FLOOR)
    return f"{formats.number(cut, 0 if cut == cut.to_integral() else 1)}%"


def quality_text(block_sum: BlockSum) -> str:
    """Return the quality of a sum, as ``97,1% medido · ◐ 2,9% interpolado``.

    It is empty if nothing was to be measured.
    """
    if block_sum.coverage is None:
        return ""
    parts = [_("%(parte)s medido") % {"parte": percent(block_sum.coverage)}]
    if block_sum.interpolated_share >= LEAST_SHARE:
        parts.append(_("◐ %(parte)s interpolado") % {"parte": percent(block_sum.interpolated_share)})
    if block_sum.estimated:
        parts.append(_("≈ %(parte)s estimado") % {"parte": percent(block_sum.estimated_share)})
    return " · ".join(parts)


def blank_card(card_id: str, title: str, icon: str) -> Card:
    """Return a card without a figure."""
    return {
        "id": card_id,
        "title": title,
        "icon": icon,
        "shown": formats.MISSING,
        "unit": "",
        "line": "",
        "detail": "",
        "spoken": "",
        "quality": "",
        "sources": "",
        "provisional": "",
        "state": "",
        "word": "",
        "value": None,
        "instant": None,
        "end": None,
        "previous": None,
        "coverage": None,
    }
