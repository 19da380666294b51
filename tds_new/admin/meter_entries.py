"""The entries of people about a meter: changes, dated parameters, decisions."""

import re
from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tds_new.admin.entries import PARAMETERS, RegistroAdmin, RegistroForm, ToleranceOptional
from tds_new.admin.filters import ContaWithRowsFilter, by_date
from tds_new.admin.meter_change import misfits
from tds_new.formats import clock, register, register_with_unit
from tds_new.models import (
    Conta,
    Dispositivo,
    OcorrenciaMedicao,
    RevisaoLeitura,
    TrocaMedidor,
    VigenciaParametros,
)
from tds_new.models.vigencia import parameters_in_force
from tds_new.queries.neighbours import reading_within_second

CLASSES, DECISIONS = OcorrenciaMedicao.Classe, RevisaoLeitura.Decisao
JUMPS = (CLASSES.SUSPEITA, CLASSES.IMPLAUSIVEL, CLASSES.EXCESSO, CLASSES.REINICIO)
DECIDED = ("leitura_em", "decisao", "valor_corrigido", "atribuida_a")  # of a stored decision
NUMBER = re.compile(r"-?\d{1,11}(\.\d{1,4})?")


@admin.register(TrocaMedidor)
class TrocaMedidorAdmin(RegistroAdmin):
    """Meter changes."""

    list_display = ("when", "dispositivo", "gateway", "conta", "final", "initial", "motivo", "registrado_por")
    list_filter = (
        ("ocorrida_em", by_date(gettext_lazy("data da troca"))),
        ContaWithRowsFilter,
        "dispositivo__grandeza",
    )
    fields = ("meter", "ocorrida_em", "leitura_final", "leitura_inicial", "motivo", "registered")
    readonly_fields = ("meter", "registered")

    @admin.display(description=gettext_lazy("ocorrida em"), ordering="ocorrida_em")
    def when(self, entry: TrocaMedidor) -> str:
        """Show when the meter was changed, in the Conta's time."""
        return self._moment(entry)

    @admin.display(description=gettext_lazy("leitura final"), ordering="leitura_final")
    def final(self, entry: TrocaMedidor) -> str:
        """Show the old meter's last value."""
        return register_with_unit(entry.leitura_final, entry.dispositivo.unidade)

    @admin.display(description=gettext_lazy("leitura inicial"), ordering="leitura_inicial")
    def initial(self, entry: TrocaMedidor) -> str:
        """Show the new meter's first value."""
        return register_with_unit(entry.leitura_inicial, entry.dispositivo.unidade)

    def save_model(self, request: HttpRequest, obj: TrocaMedidor, form: Any, change: bool) -> None:
        """Store, and warn where the values do not fit the readings around them."""
        super().save_model(request, obj, form, change)
        for text in misfits(obj):
            self.message_user(request, text, messages.WARNING)


class VigenciaForm(ToleranceOptional, RegistroForm):
    """Dated parameters."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Let the tolerance be left empty."""
        super().__init__(*args, **kwargs)
        self.allow_empty_tolerance()


@admin.register(VigenciaParametros)
class VigenciaParametrosAdmin(RegistroAdmin):
    """Parameters from a moment on."""

    form = VigenciaForm
    list_display = (
        "since",
        "dispositivo",
        "gateway",
        "conta",
        "factor",
        "capacity",
        "maximum",
        "tolerance",
        "motivo",
        "registrado_por",
    )
    list_filter = (
        ("desde", by_date(gettext_lazy("data de início"))),
        ContaWithRowsFilter,
        "dispositivo__grandeza",
    )
    ordering = ("-desde",)
    fields = ("meter", "desde", *PARAMETERS, "motivo", "registered")
    readonly_fields = ("meter", "registered")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Suggest what is in force now: all four are set, and mostly one of them changes."""
        device = self.page_device(request, None)
        given: dict[str, Any] = {**super().get_changeform_initial_data(request)}
        in_force = parameters_in_force(device, now()) if device else None
        return {**{name: getattr(in_force, name) for name in PARAMETERS}, **given} if in_force else given

    @admin.display(description=gettext_lazy("desde"), ordering="desde")
    def since(self, entry: VigenciaParametros) -> str:
        """Show from when on they hold, in the Conta's time."""
        return self._moment(entry)

    @admin.display(description=gettext_lazy("fator"), ordering="fator_conversao")
    def factor(self, entry: VigenciaParametros) -> str:
        """Show the CT/PT constant."""
        return f"× {register(entry.fator_conversao)}"

    @admin.display(description=gettext_lazy("máximo do registrador"), ordering="valor_maximo_registro")
    def capacity(self, entry: VigenciaParametros) -> str:
        """Show where the register returns to zero."""
        return register_with_unit(entry.valor_maximo_registro, entry.dispositivo.unidade)

    @admin.display(description=gettext_lazy("máximo por hora"), ordering="consumo_maximo_hora")
    def maximum(self, entry: VigenciaParametros) -> str:
        """Show the largest plausible consumption per hour."""
        return register_with_unit(entry.consumo_maximo_hora, f"{entry.dispositivo.unidade}/h")

    @admin.display(description=gettext_lazy("tolerância"), ordering="tolerancia_queda")
    def tolerance(self, entry: VigenciaParametros) -> str:
        """Show how far the register may dip."""
        return register_with_unit(entry.tolerancia_queda, entry.dispositivo.unidade)


class RevisaoForm(RegistroForm):
    """A decision on one reading, or the value that stands for the one received."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Offer the Contas that the device has changed between."""
        super().__init__(*args, **kwargs)
        if "atribuida_a" in self.fields:
            conta = self.fields["atribuida_a"]
            conta.queryset = contas_of_transfers(self.device)  # type: ignore[attr-defined]
            for link in ("add", "change", "delete", "view"):
                setattr(conta.widget, f"can_{link}_related", False)

    def clean_leitura_em(self) -> Any:
        """Return the reading's exact time: people write whole seconds."""
        second = self.cleaned_data["leitura_em"]
        exact = reading_within_second(self.device, second) if self.device else None
        if exact is None:
            raise ValidationError(_("Este dispositivo não tem leitura nesse instante."))
        return exact

    def clean_decisao(self) -> str:
        """Refuse to count a jump that is none, or that the next readings took back."""
        decision, moment = str(self.cleaned_data["decisao"]), self.cleaned_data.get("leitura_em")
        if moment is None or decision not in (DECISIONS.APROVADA, DECISIONS.REINICIO):
            return decision
        found = OcorrenciaMedicao.objects.filter(dispositivo=self.device, leitura_em=moment).first()
        if found is None or found.classe not in JUMPS:
            raise ValidationError(_("Esta leitura não é um salto: já conta, e não há o que aprovar."))
        if not found.espera:
            raise ValidationError(_("As leituras seguintes já mostraram o que esta foi: ela não conta."))
        return decision


@admin.register(RevisaoLeitura)
class RevisaoLeituraAdmin(RegistroAdmin):
    """Decisions on readings. To change one, delete it and decide again."""

    form = RevisaoForm
    list_display = (
        "reading",
        "dispositivo",
        "gateway",
        "conta",
        "value",
        "decided",
        "seen_as",
        "motivo",
        "registrado_por",
    )
    list_filter = ("decisao", ("leitura_em", by_date(gettext_lazy("data da leitura"))), ContaWithRowsFilter)
    fields = (
        *("meter", "leitura_em", "decisao", "valor_corrigido", "atribuida_a"),
        *("motivo", "evidence", "registered"),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return all fields of a stored decision but the reason, which may be edited."""
        return ("meter", "evidence", "registered") + (DECIDED if obj else ())

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields; a Conta only where the device has changed between two."""
        transferred = obj.atribuida_a_id if obj else contas_of_transfers(self.page_device(request, None))
        hidden = () if transferred else ("atribuida_a",)
        return [name for name in super().get_fields(request, obj) if name not in hidden]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Read the suggested time and value from the address."""
        given: dict[str, Any] = {**super().get_changeform_initial_data(request)}
        moment, value = parse_datetime(given.pop("leitura_em", "")), given.pop("valor_corrigido", "")
        device = self.page_device(request, None)
        if moment is not None and device is not None:
            given["leitura_em"] = timezone.make_naive(moment, device.conta.zone)
        return {**given, **({"valor_corrigido": Decimal(value)} if is_number(value) else {})}

    @admin.display(description=gettext_lazy("leitura de"), ordering="leitura_em")
    def reading(self, entry: RevisaoLeitura) -> str:
        """Show the reading's time, in the Conta's time."""
        return self._moment(entry)

    @admin.display(description=gettext_lazy("valor"), ordering="valor")
    def value(self, entry: RevisaoLeitura) -> str:
        """Show the reading's value."""
        return register_with_unit(entry.valor, entry.dispositivo.unidade)

    @admin.display(description=gettext_lazy("decisão"), ordering="decisao")
    def decided(self, entry: RevisaoLeitura) -> str:
        """Show the decision, the corrected value and the Conta chosen."""
        value = register_with_unit(entry.valor_corrigido, entry.dispositivo.unidade)
        parts = [
            str(entry.get_decisao_display()) if entry.decisao else "",
            _("valor %(value)s") % {"value": value} if entry.valor_corrigido is not None else "",
            str(entry.atribuida_a or ""),
        ]
        return " · ".join(filter(None, parts))

    @admin.display(description=gettext_lazy("classe na decisão"), ordering="classe")
    def seen_as(self, entry: RevisaoLeitura) -> str:
        """Show the ledger's class of the reading when it was decided on."""
        return str(OcorrenciaMedicao.Classe(entry.classe).label) if entry.classe else ""

    @admin.display(description=gettext_lazy("decidida sobre"))
    def evidence(self, entry: RevisaoLeitura) -> str:
        """Show the evidence of the decision."""
        if entry.valor is None:
            return _("Sem leitura guardada com a decisão.")
        parts = [self.value(entry), self.seen_as(entry)]
        if entry.inicio:
            base, when = (
                register_with_unit(entry.valor_base, entry.dispositivo.unidade),
                clock(entry.inicio, entry.dispositivo.conta.zone),
            )
            parts.append(_("base %(value)s (%(when)s)") % {"value": base, "when": when})
        return " · ".join(filter(None, parts))


def contas_of_transfers(device: Dispositivo | None) -> QuerySet[Conta]:
    """Return the Contas between which a device has changed."""
    found = OcorrenciaMedicao.objects.filter(dispositivo=device, classe=CLASSES.TRANSFERENCIA)
    pairs = found.values_list("numeros__conta_antes", "numeros__conta_depois") if device else ()
    return Conta.objects.filter(pk__in={pk for pair in pairs for pk in pair if pk is not None})


def is_number(text: str) -> bool:
    """Return whether an address carries a register's value."""
    return NUMBER.fullmatch(text) is not None
