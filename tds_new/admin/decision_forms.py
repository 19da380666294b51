"""What some decisions ask besides the reason, each as a form about one reading.

A form says which entry it would make (``entry``, so that its effect can be looked up first) and makes it
(``store``).
"""

from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tds_new.admin.cases import KINDS, Case
from tds_new.admin.decisions import ATTRIBUTE, CORRECT, DECISIONS, store
from tds_new.admin.explanation import suggested_change
from tds_new.admin.fields import NumberField
from tds_new.formats import clock, offset
from tds_new.metering.preview import Entry, MeterChanged
from tds_new.models import Conta, TrocaMedidor, VigenciaParametros
from tds_new.models.vigencia import parameters_in_force

if TYPE_CHECKING:
    TrocaModelForm = forms.ModelForm[TrocaMedidor]
    VigenciaModelForm = forms.ModelForm[VigenciaParametros]
else:
    TrocaModelForm = VigenciaModelForm = forms.ModelForm

HOUR = Decimal(3600)
STEPS = (
    Decimal(1),
    Decimal(2),
    Decimal(5),
    Decimal(10),
)  # of a suggested maximum, times a power of ten


class ValueForm(forms.Form):
    """The value that should count, and a decision with it where one is needed."""

    valor_corrigido = NumberField(label=gettext_lazy("Valor certo"), max_digits=15, decimal_places=4)
    decisao = forms.ChoiceField(
        label=gettext_lazy("E decidir também"),
        required=False,
        help_text=gettext_lazy("Só onde o valor certo também é um salto; em geral fica vazio."),
    )

    def __init__(self, case: Case, data: Any = None, value: str = "") -> None:
        """Ask about a reading; ``value`` is suggested."""
        super().__init__(data, initial={"valor_corrigido": value})
        self.case = case
        unit = _("Em %(unit)s.") % {"unit": case.unit}
        received = _("Recebido: %(value)s.") % {"value": case.amount(case.received)}
        self.fields["valor_corrigido"].help_text = f"{unit} {received}"
        choices = [DECISIONS.APROVADA, DECISIONS.VISTA]
        if case.kind != KINDS.INCREMENTAL:
            choices += [DECISIONS.REINICIO, DECISIONS.RETORNO]
        if case.is_first:
            del self.fields["decisao"]
        else:
            self.fields["decisao"].choices = [("", "---------"), *((c.value, c.label) for c in choices)]  # type: ignore[attr-defined]

    def entry(self) -> Entry | None:
        """Return the entry that the form would make; None while there is no value."""
        if self.is_bound:
            if not self.is_valid():
                return None
            value, decision = self.cleaned_data["valor_corrigido"], self.cleaned_data.get("decisao", "")
        else:
            value, decision = _plain_number(self.initial["valor_corrigido"]), ""
        return None if value is None else Entry(decision, corrected=value)

    def clean(self) -> dict[str, Any] | None:
        """Refuse a restart at a value that no register shows that began at zero."""
        cleaned = super().clean()
        value, decision = self.cleaned_data.get("valor_corrigido"), self.cleaned_data.get("decisao")
        if value is not None and value < 0 and decision == DECISIONS.REINICIO:
            self.add_error("decisao", _("Um registrador que recomeçou do zero não mostra valor negativo."))
        return cleaned

    def store(self, motivo: str, user: Any) -> None:
        """Make the entry."""
        fields = {
            "valor_corrigido": self.cleaned_data["valor_corrigido"],
            "decisao": self.cleaned_data.get("decisao", ""),
        }
        store([self.case.row], CORRECT, motivo, user, **fields)


class ContaForm(forms.Form):
    """Which of two Contas the consumption between them counts for."""

    conta = forms.ModelChoiceField(
        Conta.objects.none(), label=gettext_lazy("Conta"), widget=forms.RadioSelect, empty_label=None
    )

    def __init__(self, case: Case, data: Any = None, conta: str = "") -> None:
        """Ask about a reading; ``conta`` is chosen."""
        super().__init__(data, initial={"conta": conta})
        self.case = case
        both = case.contas()
        self.fields["conta"].queryset = Conta.objects.filter(pk__in=[one.pk for one in both])  # type: ignore[attr-defined]

    def entry(self) -> Entry | None:
        """Return the entry that the form would make; None while no Conta is chosen."""
        if self.is_bound:
            conta = self.cleaned_data["conta"].pk if self.is_valid() else None
        else:
            chosen = str(self.initial["conta"])
            conta = int(chosen) if chosen in {str(one.pk) for one in self.case.contas()} else None
        return None if conta is None else Entry(ATTRIBUTE.stores or "", self.case.row.valor_corrigido, conta)

    def store(self, motivo: str, user: Any) -> None:
        """Make the entry."""
        store([self.case.row], ATTRIBUTE, motivo, user, atribuida_a=self.cleaned_data["conta"])


class LocalMomentForm:
    """A form about a reading whose moment is by the clock of the reading's Conta."""

    case: Case
    fields: dict[str, forms.Field]

    def say_clock(self, name: str) -> None:
        """Say in the help text of a moment's field by which clock it is."""
        zone = self.case.zone
        field = self.fields[name]
        field.widget = forms.SplitDateTimeWidget(
            date_attrs={"class": "vDateField"}, time_attrs={"class": "vTimeField"}
        )
        field.help_text = _("Na hora da conta: %(zone)s, hoje %(offset)s.") % {
            "zone": zone.key,
            "offset": offset(now(), zone),
        }

    def full_clean(self) -> None:
        """Read times by the clock of the Conta."""
        with timezone.override(self.case.zone):
            super().full_clean()  # type: ignore[misc]

    def exact(self, moment: datetime) -> datetime:
        """Return the reading's exact time for its time in whole seconds, else ``moment``."""
        reading = self.case.row.leitura_em
        return reading if moment == reading.replace(microsecond=0) else moment


class MeterChangeForm(LocalMomentForm, TrocaModelForm):
    """A meter change between a reading and its base."""

    class Meta:
        model = TrocaMedidor
        fields = ("ocorrida_em", "leitura_final", "leitura_inicial")
        field_classes = {
            "ocorrida_em": forms.SplitDateTimeField,
            "leitura_final": NumberField,
            "leitura_inicial": NumberField,
        }

    def __init__(self, case: Case, data: Any = None) -> None:
        """Ask about a reading, with the values that would explain it."""
        final, first = suggested_change(case)
        initial = {
            "ocorrida_em": timezone.make_naive(case.row.leitura_em, case.zone),
            "leitura_final": final,
            "leitura_inicial": first,
        }
        self.case = case
        super().__init__(data, initial=initial, instance=TrocaMedidor(dispositivo=case.row.dispositivo))
        self.say_clock("ocorrida_em")
        for name in ("leitura_final", "leitura_inicial"):
            self.fields[name].help_text = _("Em %(unit)s.") % {"unit": case.unit}

    def clean_ocorrida_em(self) -> Any:
        """Refuse a time not between base and reading, where it would explain nothing."""
        row, when = self.case.row, self.exact(self.cleaned_data["ocorrida_em"])
        assert row.inicio is not None
        if not row.inicio < when <= row.leitura_em:
            text = _("A troca fica depois da leitura de base (%(start)s) e não depois desta (%(end)s).")
            zone = self.case.zone
            raise ValidationError(
                text % {"start": clock(row.inicio, zone), "end": clock(row.leitura_em, zone)}
            )
        return when

    def entry(self) -> Entry | None:
        """Return the entry that the form would make; None while its values do not fit."""
        if not self.is_bound:
            return Entry(change=MeterChanged(self.case.row.leitura_em, *suggested_change(self.case)))
        if not self.is_valid():
            return None
        values = self.cleaned_data
        change = MeterChanged(values["ocorrida_em"], values["leitura_final"], values["leitura_inicial"])
        return Entry(change=change)

    def store(self, motivo: str, user: Any) -> None:
        """Make the entry."""
        self.instance.motivo, self.instance.registrado_por = motivo, user
        self.instance.save()


class MaximumForm(LocalMomentForm, VigenciaModelForm):
    """A higher plausible maximum from a moment on, the other parameters unchanged."""

    class Meta:
        model = VigenciaParametros
        fields = ("desde", "consumo_maximo_hora")
        field_classes = {"desde": forms.SplitDateTimeField, "consumo_maximo_hora": NumberField}

    def __init__(self, case: Case, data: Any = None) -> None:
        """Ask about a reading, with a maximum that allows it from its base on."""
        self.case = case
        initial = {
            "desde": timezone.make_naive(case.row.leitura_em, case.zone),
            "consumo_maximo_hora": suggested_maximum(case),
        }
        device = case.row.dispositivo
        super().__init__(data, initial=initial, instance=VigenciaParametros(dispositivo=device))
        self.say_clock("desde")
        self.fields["consumo_maximo_hora"].required = True
        now_in_force = case.measured.hourly_maximum if case.measured else None
        unit = _("Em %(unit)s.") % {"unit": f"{case.unit}/h"}
        old = _("Hoje: %(maximum)s.") % {"maximum": case.amount(now_in_force)}
        self.fields["consumo_maximo_hora"].help_text = f"{unit} {old}"

    def clean_desde(self) -> Any:
        """Refuse a moment after the reading: the old maximum would still judge it."""
        row, since = self.case.row, self.exact(self.cleaned_data["desde"])
        if since > row.leitura_em:
            text = _("O novo máximo só vale para esta leitura se começar até %(end)s.")
            raise ValidationError(text % {"end": clock(row.leitura_em, self.case.zone)})
        return since

    def clean(self) -> dict[str, Any] | None:
        """Take the other parameters over from those in force."""
        cleaned = super().clean()
        since = self.cleaned_data.get("desde")
        if since is not None:
            in_force = parameters_in_force(self.case.row.dispositivo, since)
            for name in ("fator_conversao", "valor_maximo_registro", "tolerancia_queda"):
                setattr(self.instance, name, getattr(in_force, name))
        return cleaned

    def entry(self) -> Entry | None:
        """Return the entry that the form would make; None while its values do not fit."""
        if not self.is_bound:
            return Entry(hourly_maximum=(self.case.row.leitura_em, suggested_maximum(self.case)))
        if not self.is_valid():
            return None
        return Entry(hourly_maximum=(self.cleaned_data["desde"], self.cleaned_data["consumo_maximo_hora"]))

    def store(self, motivo: str, user: Any) -> None:
        """Make the entry."""
        self.instance.motivo, self.instance.registrado_por = motivo, user
        self.instance.save()


DecisionForm = ValueForm | ContaForm | MeterChangeForm | MaximumForm


def suggested_maximum(case: Case) -> Decimal:
    """Return a round maximum per hour that allows the speed of the reading."""
    seconds = Decimal(str(max(case.elapsed.total_seconds(), 1)))
    speed = abs(case.rise) * HOUR / seconds
    power = Decimal(1).scaleb(speed.adjusted()) if speed else Decimal(1)
    return next(step * power for step in STEPS if step * power >= speed).quantize(
        Decimal("0.0001"), ROUND_CEILING
    )


def _plain_number(text: Any) -> Decimal | None:
    """Return a number as an address carries it; None if it is none."""
    try:
        return Decimal(str(text))
    except ArithmeticError:
        return None
