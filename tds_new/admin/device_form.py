"""The form of a device, with what a person must know before changing it."""

from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tds_new.admin.base import ReasonedForm
from tds_new.admin.entries import PARAMETERS, say_units
from tds_new.admin.fields import KeySelect
from tds_new.admin.structure import main_meter_label
from tds_new.formats import register_with_unit
from tds_new.models import ConsumoBloco, Dispositivo, Gateway
from tds_new.units import DEFAULTS, default_dip_tolerance, default_hourly_maximum

if TYPE_CHECKING:
    DeviceChoiceField = forms.ModelChoiceField[Dispositivo]
else:
    DeviceChoiceField = forms.ModelChoiceField

HELP = {
    "papel": gettext_lazy(
        "Consumo e injeção têm cada um o seu total na conta, e um não se subtrai do outro; informativo fica "
        "fora de todos. Uma mudança vale para todos os meses, também os passados."
    ),
    "unidade_consumo": gettext_lazy(
        "Só onde o registrador conta outra coisa, como pulsos: a unidade em que o consumo é mostrado e "
        "somado, depois do fator."
    ),
    "carimbo": gettext_lazy(
        "De leituras incrementais: se a hora de cada uma é o fim ou o começo do intervalo. "
        "Uma mudança recalcula toda a história."
    ),
}
STEP = Decimal("0.0001")  # of a register's stored value


class MainMeterSelect(KeySelect):
    """Searches among the meters that a device may be behind."""

    device_id: int | None = None

    def get_url(self) -> str:
        """Return the address that answers the search."""
        url = reverse("admin:tds_new_dispositivo_main_meters")
        return f"{url}?de={self.device_id}" if self.device_id else url


class MainMeterField(DeviceChoiceField):
    """A meter, named with its gateway: codes repeat from one gateway to the next."""

    def label_from_instance(self, obj: Dispositivo) -> str:
        """Return how the meter is named in the field."""
        return main_meter_label(obj)


class DispositivoForm(ReasonedForm):
    """A device. Its parameters hold for all of its past, so a change needs a reason.

    The model refuses a device too many for its gateway.
    """

    reasoned = (*PARAMETERS, "carimbo")
    defaults: ClassVar[dict[str, Any]] = {
        "consumo_maximo_hora": default_hourly_maximum,
        "tolerancia_queda": default_dip_tolerance,
    }

    medidor_pai = MainMeterField(
        queryset=Dispositivo.objects.select_related("gateway"),
        label=gettext_lazy("Medidor principal"),
        required=False,
        widget=MainMeterSelect(Dispositivo._meta.get_field("medidor_pai"), admin.site),
        help_text=gettext_lazy(
            "O medidor da mesma conta atrás do qual este está. O consumo deste já está no do principal, "
            "por isso não se soma ao total da conta. Um principal de outra grandeza ou papel, ou inativo, "
            "não conta."
        ),
    )
    sem_limite = forms.BooleanField(
        label=gettext_lazy("Sem limite de consumo por hora"),
        required=False,
        help_text=gettext_lazy("Nenhum consumo é implausível, por maior que seja."),
    )

    def has_figures(self) -> bool:
        """Return whether there are readings, or blocks of readings that were dropped."""
        return super().has_figures() or ConsumoBloco.objects.filter(dispositivo=self.instance.pk).exists()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Let parameters that have defaults be left empty, and name a known unit."""
        super().__init__(*args, **kwargs)
        if "tolerancia_queda" in self.fields:
            self.fields["tolerancia_queda"].required = False
        stored = self.instance.pk is not None
        if stored:
            say_units(self.fields, self.instance.unidade)
        for name, pattern in (("consumo_maximo_hora", "{}/h"), ("tolerancia_queda", "{}")):
            if name in self.fields:
                self._say_default(name, pattern)
        if "sem_limite" in self.fields:
            self.fields["sem_limite"].initial = stored and self.instance.consumo_maximo_hora is None
        for name, said in HELP.items():
            if name in self.fields:
                self.fields[name].help_text = said
        if "medidor_pai" in self.fields:
            self.fields["medidor_pai"].widget.device_id = self.instance.pk

    def _say_default(self, name: str, pattern: str) -> None:
        """Say what an empty field means; of a new device by quantity."""
        field = self.fields[name]
        if self.instance.pk:
            default = self._default(name, self.instance)
            said = (
                _("sem limite")
                if default is None
                else register_with_unit(default, pattern.format(self.instance.unidade))
            )
            field.widget.attrs["placeholder"] = _("padrão: %(value)s") % {"value": said}
            field.help_text = f"{field.help_text} " + _("Vazio: o padrão, %(value)s.") % {"value": said}
            return
        amounts = (
            (Dispositivo.Grandeza(quantity).label, unit, maximum if pattern != "{}" else tolerance)
            for quantity, (unit, maximum, tolerance) in DEFAULTS.items()
        )
        said = ", ".join(
            f"{label} {register_with_unit(_decimal(amount), pattern.format(unit))}"
            for label, unit, amount in amounts
        )
        field.help_text = f"{field.help_text} " + _("Vazio: o padrão da grandeza (%(values)s).") % {
            "values": said
        }

    def _default(self, name: str, device: Dispositivo) -> Decimal | None:
        """Return the default of a parameter for ``device``, as its fields are now."""
        factor = Fraction(device.fator_conversao or 1)
        amount = self.defaults[name](device.grandeza, device.unidade, device.unidade_consumo, factor)
        return None if amount is None else _decimal(amount)

    def clean(self) -> dict[str, Any] | None:
        """Wait for others who add devices to this gateway, and fill in the defaults.

        So the model's count of the gateway's devices is the one that will hold.
        """
        self._fill_in_defaults()
        cleaned = super().clean()
        gateway = self.cleaned_data.get("gateway")
        if gateway:
            Gateway.objects.select_for_update(no_key=True).filter(pk=gateway.pk).first()
        return cleaned

    def _fill_in_defaults(self) -> None:
        """Put the defaults of what was entered where a parameter was left empty."""
        data = self.cleaned_data
        unlimited = data.get("sem_limite", False)
        if unlimited and data.get("consumo_maximo_hora") is not None:
            text = _("Deixe vazio para “sem limite”, ou desmarque “sem limite”.")
            self.add_error("consumo_maximo_hora", ValidationError(text))
        entered = Dispositivo(
            grandeza=data.get("grandeza", self.instance.grandeza),
            unidade=data.get("unidade", self.instance.unidade),
            unidade_consumo=data.get("unidade_consumo", self.instance.unidade_consumo),
            fator_conversao=data.get("fator_conversao", self.instance.fator_conversao),
        )
        for name in self.defaults:
            if name in data and data[name] is None and not (unlimited and name == "consumo_maximo_hora"):
                data[name] = self._default(name, entered)


def _decimal(amount: Fraction) -> Decimal:
    """Return an amount with the decimals of a register's stored value."""
    exact = Decimal(amount.numerator) / Decimal(amount.denominator)
    largest = Decimal("99999999999.9999")
    return min(exact.quantize(STEP, ROUND_HALF_EVEN), largest)
