"""Readings under review with all that their pages say of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from tds_new.formats import clock, exact_duration, register, register_with_unit
from tds_new.metering.preview import Point, Preview, Question, preview, time_of
from tds_new.models import Conta, Dispositivo, LeituraEmRevisao, OcorrenciaMedicao
from tds_new.queries.neighbours import NearbyReading, deciding_readings, readings_around

KINDS = Dispositivo.TipoLeitura
CLASSES = OcorrenciaMedicao.Classe
SITUATIONS = LeituraEmRevisao.Situacao


@dataclass(frozen=True)
class Case:
    """A reading under review and what its meter measured since its base.

    ``measured`` is None for a reading without a base; ``decided_by`` is time and value of the reading that
    decided it, if one has.
    """

    row: LeituraEmRevisao
    around: list[NearbyReading]
    measured: Preview | None
    decided_by: tuple[datetime, Decimal | None] | None

    @property
    def unit(self) -> str:
        """The register's unit."""
        return self.row.dispositivo.unidade

    @property
    def consumption_unit(self) -> str:
        """The unit of its consumption."""
        return self.row.dispositivo.unidade_consumo or self.unit

    @property
    def zone(self) -> ZoneInfo:
        """The Conta's zone."""
        return self.row.conta.zone

    @property
    def reading(self) -> NearbyReading | None:
        """The reading as it is stored; None if it has been dropped."""
        return next((one for one in self.around if one.time == self.row.leitura_em), None)

    @property
    def kind(self) -> str:
        """How its value is to be read (``tipo_leitura``)."""
        return self.reading.tipo_leitura if self.reading else self.row.dispositivo.tipo_leitura

    @property
    def before(self) -> NearbyReading | None:
        """The reading before it that somebody has not discarded."""
        kept = [r for r in self.around if r.time < self.row.leitura_em and r.decisao != "DESCARTADA"]
        return kept[-1] if kept else None

    @property
    def is_first(self) -> bool:
        """Return whether a chain begins with it: there it measures from nothing."""
        here, before = self.reading, self.before
        if here is None:
            return False
        return before is None or (here.conta_id, here.tipo_leitura) != (before.conta_id, before.tipo_leitura)

    @property
    def waits(self) -> bool:
        """Return whether the ledger has not made up its mind, or asks somebody."""
        return self.row.situacao in (SITUATIONS.ESPERA, SITUATIONS.AGUARDA)

    @property
    def value(self) -> Decimal:
        """The value that counts: a corrected one stands for the received one."""
        corrected = self.row.valor_corrigido
        received = self.row.valor if self.row.valor is not None else Decimal(0)
        return received if corrected is None else corrected

    @property
    def received(self) -> Decimal | None:
        """The value that was received, whatever people put in its place."""
        return self.reading.valor if self.reading else self.row.valor

    @property
    def base(self) -> Decimal:
        """The value that it is measured from."""
        return self.measured.base.value if self.measured else Decimal(0)

    @property
    def rise(self) -> Decimal:
        """How far the meters went since the base; negative after a fall."""
        return self.measured.amount if self.measured else Decimal(0)

    @property
    def elapsed(self) -> timedelta:
        """The time from its base to it."""
        return self.measured.elapsed if self.measured else timedelta()

    @property
    def time(self) -> str:
        """The time from its base to it, in words."""
        return exact_duration(self.elapsed)

    def count(self, name: str) -> int:
        """Return a count among the figures of its rule; 0 if there is none of this name."""
        return int((self.row.numeros or {}).get(name, 0))

    def number(self, name: str) -> Decimal | None:
        """Return a register's value among the figures of its rule; None if there is none."""
        found = (self.row.numeros or {}).get(name)
        return None if found is None else Decimal(found).scaleb(-4)

    def consumption(self, name: str) -> Decimal | None:
        """Return a consumption among the figures of its rule; None if there is none."""
        found = (self.row.numeros or {}).get(name)
        return None if found is None else Decimal(found).scaleb(-6)

    def moment(self, name: str) -> datetime | None:
        """Return a time among the figures of its rule; None if there is none."""
        found = (self.row.numeros or {}).get(name)
        return None if found is None else time_of(int(found))

    def at(self, moment: datetime | None) -> str:
        """Return a moment by the Conta's clock."""
        return clock(moment, self.zone)

    def amount(self, value: Decimal | None) -> str:
        """Return ``value`` with the register's unit."""
        return register_with_unit(value, self.unit)

    def counted(self, value: Decimal) -> str:
        """Return what ``value`` of the register counts: ``12,5 × 40 = 500 kWh``."""
        factor = self.measured.factor if self.measured else Decimal(1)
        if self.measured and not self.measured.one_factor:
            return _("%(amount)s, com o fator de cada momento") % {"amount": self.amount(value)}
        if not value or (factor == 1 and self.unit == self.consumption_unit):
            return register_with_unit(value, self.consumption_unit)
        whole = register_with_unit(value * factor, self.consumption_unit)
        pulses = register(value) if self.unit == self.consumption_unit else self.amount(value)
        return f"{pulses} × {register(factor)} = {whole}"

    @property
    def allowed(self) -> str:
        """``7,6 kWh em 15 min (30,4 kWh/h)``; empty if there is no limit."""
        measured = self.measured
        if measured is None or measured.limit is None:
            return ""
        hourly = register_with_unit(measured.hourly_maximum, f"{self.unit}/h")
        text = _("%(limit)s em %(time)s (máximo de %(hourly)s)")
        return text % {"limit": self.amount(measured.limit), "time": self.time, "hourly": hourly}

    def contas(self) -> list[Conta]:
        """Return the two Contas of a change of Conta, the earlier one first."""
        ids = [self.count("conta_antes"), self.count("conta_depois")]
        found = Conta.objects.in_bulk(ids)
        return [found[pk] for pk in ids if pk in found]


def cases_of(rows: Sequence[LeituraEmRevisao]) -> list[Case]:
    """Return each row as a case."""
    moments = [(row.dispositivo, row.leitura_em) for row in rows]
    questions: dict[int, Question] = {}
    for number, row in enumerate(rows):
        value = row.valor if row.valor_corrigido is None else row.valor_corrigido
        if row.inicio is not None and value is not None and row.valor_base is not None:
            base, reading = Point(row.inicio, row.valor_base), Point(row.leitura_em, value)
            questions[number] = Question(row.dispositivo_id, base, reading)
    found = dict(zip(questions, preview(list(questions.values())), strict=True)) if questions else {}
    around = readings_around(moments) if moments else []
    deciding = deciding_readings(moments) if moments else []
    return [
        Case(row, near, found.get(number), decided_by)
        for number, (row, near, decided_by) in enumerate(zip(rows, around, deciding, strict=True))
    ]
