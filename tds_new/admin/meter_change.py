"""Warnings about a meter change whose values do not fit the readings beside it."""

from django.utils.translation import gettext as _

from tds_new.formats import clock, clock_with_zone, register_with_unit
from tds_new.metering.preview import Preview, preview_after_change
from tds_new.models import Dispositivo, TrocaMedidor


def misfits(change: TrocaMedidor) -> list[str]:
    """Return warnings where a meter change does not fit the readings beside it.

    Also warn if the ledger will not accept the reading after it.
    """
    device = change.dispositivo
    base, after, judged = preview_after_change(device.pk, change.ocorrida_em)
    zone, unit, warnings = device.conta.zone, device.unidade, list[str]()
    if base and base.value > change.leitura_final:
        text = _("A leitura final é menor que a leitura anterior à troca (%(value)s em %(when)s): confira.")
        value, when = register_with_unit(base.value, unit), clock_with_zone(base.time, zone)
        warnings.append(text % {"value": value, "when": when})
    if after and after.value < change.leitura_inicial:
        text = _(
            "A leitura inicial é maior que a leitura posterior à troca (%(value)s em %(when)s): confira."
        )
        value, when = register_with_unit(after.value, unit), clock_with_zone(after.time, zone)
        warnings.append(text % {"value": value, "when": when})
    if judged and not judged.fits(net=device.tipo_leitura == Dispositivo.TipoLeitura.SALDO):
        warnings.append(_not_accepted(device, judged))
    return warnings


def _not_accepted(device: Dispositivo, judged: Preview) -> str:
    """Return why the reading is not accepted: too little was counted, or too much."""
    if judged.amount < 0:
        text = _(
            "Com a troca o consumo de %(start)s a %(end)s é %(amount)s: a leitura de %(end)s fica em revisão."
        )
    else:
        text = _(
            "Com a troca o consumo de %(start)s a %(end)s é %(amount)s, e o máximo plausível é %(limit)s: "
            "a leitura de %(end)s fica em revisão."
        )
    return text % {
        "start": clock(judged.base.time, device.conta.zone),
        "end": clock(judged.reading.time, device.conta.zone),
        "amount": register_with_unit(judged.amount, device.unidade),
        "limit": register_with_unit(judged.limit, device.unidade),
    }
