"""A meter change that explains a reading: its form, and warnings about its values."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.timezone import now
from django.utils.translation import gettext as _

from tds_new.admin.explanation import suggested_change
from tds_new.admin.fields import NumberField
from tds_new.formats import clock, clock_with_zone, offset, register_with_unit
from tds_new.metering.preview import Preview, preview_after_change
from tds_new.models import Dispositivo, LeituraEmRevisao, TrocaMedidor

if TYPE_CHECKING:
    TrocaModelForm = forms.ModelForm[TrocaMedidor]
else:
    TrocaModelForm = forms.ModelForm


class MeterChangeForm(TrocaModelForm):
    """A meter change between a reading and its base, by the clock of the Conta."""

    row: LeituraEmRevisao

    class Meta:
        model = TrocaMedidor
        fields = ("ocorrida_em", "leitura_final", "leitura_inicial")
        field_classes = {
            "ocorrida_em": forms.SplitDateTimeField,
            "leitura_final": NumberField,
            "leitura_inicial": NumberField,
        }

    @classmethod
    def for_reading(cls, row: LeituraEmRevisao, data: Any = None) -> "MeterChangeForm":
        """Return the form for a reading: with ``data`` as posted, or suggested values."""
        final, first = suggested_change(row)
        initial = {
            "ocorrida_em": timezone.make_naive(row.leitura_em, row.conta.zone),
            "leitura_final": final,
            "leitura_inicial": first,
        }
        form = cls(
            data, prefix=row.chave, initial=initial, instance=TrocaMedidor(dispositivo=row.dispositivo)
        )
        form.row = row
        when = form.fields["ocorrida_em"]
        when.widget = forms.SplitDateTimeWidget(
            date_attrs={"class": "vDateField"}, time_attrs={"class": "vTimeField"}
        )
        zone = row.conta.zone
        when.help_text = _("Na hora da conta: %(zone)s, hoje %(offset)s.") % {
            "zone": zone.key,
            "offset": offset(now(), zone),
        }
        for name in ("leitura_final", "leitura_inicial"):
            form.fields[name].help_text = _("Em %(unit)s.") % {"unit": row.dispositivo.unidade}
        return form

    def full_clean(self) -> None:
        """Read times by the clock of the Conta."""
        with timezone.override(self.row.conta.zone):
            super().full_clean()

    def clean_ocorrida_em(self) -> Any:
        """Refuse a time not between base and reading, where it would explain nothing.

        The reading's time in whole seconds stands for its exact time.
        """
        row, when = self.row, self.cleaned_data["ocorrida_em"]
        if when == row.leitura_em.replace(microsecond=0):
            when = row.leitura_em
        assert row.inicio is not None
        if not row.inicio < when <= row.leitura_em:
            zone = row.conta.zone
            text = _("A troca fica depois da leitura de base (%(start)s) e não depois desta (%(end)s).")
            raise ValidationError(
                text % {"start": clock(row.inicio, zone), "end": clock(row.leitura_em, zone)}
            )
        return when


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
    if judged and judged.now is None:
        warnings.append(_not_accepted(device, judged))
    return warnings


def _not_accepted(device: Dispositivo, judged: Preview) -> str:
    """Return why the reading is not accepted: too little was counted, or too much."""
    if judged.amount < 0:
        text = _(
            "Com a troca o consumo de %(start)s a %(end)s é %(amount)s: a leitura de %(end)s fica suspeita."
        )
    else:
        text = _(
            "Com a troca o consumo de %(start)s a %(end)s é %(amount)s, e o máximo plausível é %(limit)s: "
            "a leitura de %(end)s fica suspeita."
        )
    return text % {
        "start": clock(judged.base.time, device.conta.zone),
        "end": clock(judged.reading.time, device.conta.zone),
        "amount": register_with_unit(judged.amount, device.unidade),
        "limit": register_with_unit(judged.limit, device.unidade),
    }
