"""Cases that public bug trackers of this field report, each whole.

Every message goes through the processor and the worker, with the parameters of a new device unless the case
says otherwise. What a register did strangely is judged once three readings have followed it.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from django.utils.dateparse import parse_datetime

from tds_new.ingestion.message import Message
from tds_new.ingestion.telemetry_processor import TelemetryProcessor
from tds_new.metering.worker import drain
from tds_new.models import Conta, Dispositivo, Gateway, RevisaoLeitura, TrocaMedidor
from tds_new.queries.consumption import month_to_date, this_month
from tds_new.queries.meters import consumption_by_meter, in_structure
from tds_new.storage.session import connect
from tests.support.sums import rows

pytestmark = pytest.mark.django_db(transaction=True)

MAC = "02:aa:00:00:00:01"
TOPIC = f"tds_new/devices/{MAC}/telemetry"
DAY = datetime(2026, 10, 5, tzinfo=UTC)
RECEIVED = datetime(2026, 11, 30, 12, tzinfo=UTC)
LATER = datetime(2026, 10, 20, tzinfo=UTC)
LIVE = "2026-10-01T00:00:00Z"  # a gateway without old readings to send

Point = tuple[Any, ...]  # time, value, and perhaps the unit that is sent
Fields = Mapping[str, Any]


class Case(NamedTuple):
    """What is sent, and the consumption that must come out.

    ``points``: times (HH:MM on ``DAY``, or ISO 8601), values and units, of the device D01, or by the codes of
    devices. ``fields`` are the devices' that are no defaults, by code where there are several. ``then`` is
    what a person does after all this was computed.
    """

    points: Sequence[Point] | Mapping[str, Sequence[Point]]
    right: str
    fields: Fields = {}
    gateway: Fields = {}
    then: Callable[["Site"], None] | None = None


class Site:
    """A gateway with the devices of a case, and the way from its messages to the blocks."""

    def __init__(self, case: Case, processor: TelemetryProcessor) -> None:
        self.conta = Conta.objects.create(name="Casos")
        given = {"aceita_leituras_desde": "2012-01-01T00:00:00Z", "intervalo_esperado_s": 900, **case.gateway}
        self.gateway = Gateway.objects.create(conta=self.conta, codigo="GW", mac=MAC, **given)
        points = case.points if isinstance(case.points, Mapping) else {"D01": case.points}
        self.devices = {
            code: Dispositivo.objects.create(gateway=self.gateway, codigo=code, **self._fields(case, code))
            for code in points
        }
        self._processor = processor
        for code, sent in points.items():
            self.send(sent, code)
        self.settle()
        if case.then:
            case.then(self)
            self.settle()

    def _fields(self, case: Case, code: str) -> dict[str, Any]:
        fields = case.fields.get(code, {}) if isinstance(case.points, Mapping) else case.fields
        return {
            name: self.device(value) if name == "medidor_pai" else value for name, value in fields.items()
        }

    def device(self, code: str = "D01") -> Dispositivo:
        return Dispositivo.objects.get(codigo=code)

    def send(self, points: Sequence[Point], code: str = "D01") -> None:
        """Send each point in a message of its own."""
        self._processor.process([_message(code, *point) for point in points])

    def settle(self) -> None:
        self._processor.flush()
        drain()

    def total(self, code: str = "D01") -> Decimal:
        """Return the consumption in all blocks of a device."""
        return Decimal(
            rows(
                "SELECT coalesce(sum(consumo), 0) FROM tds_new_consumo_15min WHERE dispositivo_id = %s",
                self.device(code).pk,
            )[0][0]
        )

    def occurrences(self) -> list[tuple[str, bool]]:
        """Return class and whether a person is asked, in the order of readings."""
        return rows("SELECT classe, espera FROM tds_new_ocorrencia_medicao ORDER BY leitura_em")

    def rejected(self) -> list[tuple[str, int]]:
        """Return how many readings were rejected, by reason."""
        return rows("SELECT motivo, count(*) FROM tds_new_mensagem_rejeitada GROUP BY 1 ORDER BY 1")


def moment(time: str) -> datetime:
    """Return HH:MM on ``DAY``, or ISO 8601."""
    if len(time) == 5:
        return DAY + timedelta(hours=int(time[:2]), minutes=int(time[3:]))
    found = parse_datetime(time)
    assert found is not None
    return found


def _message(code: str, time: str, value: Any, unit: str | None = None) -> Message:
    reading = {"dispositivo_codigo": code, "valor": value, "timestamp": moment(time).isoformat()}
    content = {"leituras": [reading | ({"unidade": unit} if unit else {})]}
    return Message(TOPIC, json.dumps(content).encode(), RECEIVED)


@pytest.fixture
def processor() -> Iterator[TelemetryProcessor]:
    with connect("test") as session:
        processor = TelemetryProcessor(session)
        processor._resolver._max_age = 0
        yield processor


def every(minutes: int, start: str, *values: Any) -> list[Point]:
    """Return values that many minutes apart."""
    first = moment(start)
    return [((first + n * timedelta(minutes=minutes)).isoformat(), v) for n, v in enumerate(values)]


def change_meter(site: Site) -> None:
    """A person enters a meter change at half past nine."""
    change = TrocaMedidor(
        dispositivo=site.device(),
        ocorrida_em=moment("09:30"),
        leitura_final=Decimal("51236.0"),
        leitura_inicial=Decimal("17.3"),
    )
    change.full_clean()
    change.save()


def use_instead(site: Site) -> None:
    """A person has another value used for the reading of nine."""
    RevisaoLeitura.objects.create(
        dispositivo=site.device(),
        leitura_em=moment("09:00"),
        valor_corrigido=Decimal(11),
        motivo="era provisória",
    )


def other_conta(site: Site) -> None:
    """The gateway goes to another Conta, and sends again."""
    site.gateway.conta = Conta.objects.create(name="Outro")
    site.gateway.full_clean()
    site.gateway.save()
    site.send([("12:00", 102)])


ZERO = every(15, "01:00", 12345.0, 12345.2, 0, 12345.3, 12345.5)
ROLLOVER = every(5, "2026-10-03T22:20:00Z", 838790.9, 838831.0, 838857.6, 10.4, 24.0, 37.6, 51.2, 64.8, 78.4)
FORMER_METER = [round(3000 + 1.5 * hour, 1) for hour in range(96)]
USED_METER = [round(80000 + 1.5 * hour, 1) for hour in range(96, 104)]
PULSES = {"unidade": "pulsos", "fator_conversao": Decimal("0.001"), "unidade_consumo": "kWh"}
LIMIT = {"consumo_maximo_hora": Decimal(50)}

CASES = {
    "01a-tiny-dip-default": Case(every(15, "12:00", 240.788, 240.789, 240.788, 240.79), "0.002"),
    "01c-tiny-dip-pmax-after-gap": Case(
        [("06:00", 240.788), ("06:15", 240.789), ("12:15", 240.788), ("12:30", 240.79)], "0.002", LIMIT
    ),
    "02a-zero-glitch-default": Case(ZERO, "0.5"),
    "02b-zero-glitch-pmax": Case(ZERO, "0.5", LIMIT),
    "03a-back-to-saved-total-default": Case(
        every(60, "08:00", 1238.0, 1239.2, 1240.5, 1238.0, 1239.1, 1240.0, 1240.9, 1241.8, 1242.7, 1243.6),
        "8.1",
    ),
    "04-reset-to-zero": Case(every(15, "01:00", 57.0, 58.5, 0.4, 1.0, 0.3, 0.8, 1.3, 1.8, 2.3, 2.8), "5.3"),
    "05a-rollover-23-bit": Case(
        ROLLOVER, "148.3", {"unidade": "Wh", "valor_maximo_registro": Decimal("838860.8")}
    ),
    "05b-rollover-23-bit-unknown": Case(ROLLOVER, "145.1", {"unidade": "Wh"}),
    "06a-uint32-underflow-default": Case(
        every(
            *(15, "03:00", 0.1, 429496727.9, 429496728.0, 429496728.1),
            *(429496728.2, 429496728.4, 0.6, 0.7),
        ),
        "0.6",
    ),
    "06c-one-spike-default": Case(every(15, "03:00", 100.0, 100.1, 429496729.5, 100.2, 100.3), "0.3"),
    "07a-meter-swap-recorded": Case(
        [("08:00", 51234.5), ("10:00", 17.9), ("11:00", 18.3)], "2.5", then=change_meter
    ),
    "07b-meter-swap-higher": Case(every(60, "2026-10-01T00:00:00Z", *FORMER_METER, *USED_METER), "153"),
    "10-clock-1970": Case(
        [("08:00", 100), ("1970-01-01T00:00:36Z", 101), ("1970-01-01T02:00:36+02:00", 102), ("09:00", 103)],
        "3",
    ),
    "12-interval-end-incremental": Case(
        every(15, "2026-10-31T23:15:00-03:00", 1, 1, 1, 1, 7), "11", {"tipo_leitura": "INCREMENTAL"}
    ),
    "17a-net-register": Case(
        every(60, "08:00", 1000.0, 1002.0, 1001.5, 1000.2, 1003.0), "3", {"tipo_leitura": "SALDO"}
    ),
    "17c-int32-negative": Case(
        every(
            *(60, "08:00", 2147483.1, 2147483.6, -2147483.6, -2147483.1, -2147482.6, -2147482.1),
            *(-2147481.6, -2147481.1, -2147480.6),
        ),
        "3.596",
        {"valor_maximo_registro": Decimal("4294967.296")},
    ),
    "21a-unit-wh-for-kwh": Case(
        [("08:00", 12.5, "kWh"), ("09:00", 12600, "Wh"), ("10:00", 0.0127, "MWh")], "0.2"
    ),
    "21b-unit-spelling": Case(
        [("08:00", 1, "kwh"), ("09:00", 2, "KWH"), ("10:00", 3, " kWh "), ("11:00", 4, "KWh")], "3"
    ),
    "21d-pulses": Case([("08:00", 250), ("09:00", 1750)], "1.5", PULSES),
    "24-revised-reading": Case(
        [("08:00", 10), ("09:00", 99), ("09:00", 11), ("10:00", 13)], "3", then=use_instead
    ),
    "27-gap-over-month": Case(
        [("2026-08-16T00:00:00-03:00", 1000), ("2026-09-15T00:00:00-03:00", 1300)], "300"
    ),
    "34-clock-months-back": Case(
        [
            *(("08:00", 100), ("08:15", 100.1)),
            *(("2026-01-10T08:30:00Z", 100.2), ("2026-01-10T08:45:00Z", 100.3)),
            ("09:00", 100.4),
        ],
        "0.4",
        gateway={"aceita_leituras_desde": LIVE},
    ),
    "36-pulse-unit-sent": Case([("08:00", 250, "pulsos"), ("09:00", 1750, "pulsos")], "1.5", PULSES),
    "42-import-export-one-meter": Case(
        {"IMP": [("08:00", 100), ("09:00", 112)], "EXP": [("08:00", 500), ("09:00", 520)]},
        "12",
        {"EXP": {"papel": "INJECAO"}},
    ),
    "43-flow-per-hour-gap": Case([("08:00", 10), ("08:15", 10.5), ("14:15", 10.8), ("14:30", 11.3)], "1.3"),
    "46-tenant-change": Case([("10:00", 100), ("11:00", 101)], "1", then=other_conta),
    "48-main-and-sub-meters": Case(
        {
            "GERAL": [("08:00", 100), ("09:00", 130)],
            "AP1": [("08:00", 50), ("09:00", 62)],
            "AP2": [("08:00", 70), ("09:00", 80)],
        },
        "30",
        {"AP1": {"medidor_pai": "GERAL"}, "AP2": {"medidor_pai": "GERAL"}},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_case_counts_what_is_right(processor: TelemetryProcessor, name: str) -> None:
    case = CASES[name]
    site = Site(case, processor)
    assert site.total(next(iter(site.devices))) == Decimal(case.right)


def test_a_rollover_that_nobody_entered_is_marked(processor: TelemetryProcessor) -> None:
    site = Site(CASES["05b-rollover-23-bit-unknown"], processor)
    assert site.occurrences() == [("REINICIO", False)]


def test_a_used_meter_that_nobody_entered_waits_for_a_person(processor: TelemetryProcessor) -> None:
    site = Site(CASES["07b-meter-swap-higher"], processor)
    assert ("IMPLAUSIVEL", True) in site.occurrences()
    assert rows("SELECT count(*) > 0 FROM tds_new_leitura_em_revisao WHERE espera") == [(True,)]


def test_a_clock_that_begins_in_1970_is_rejected_and_seen(processor: TelemetryProcessor) -> None:
    site = Site(CASES["10-clock-1970"], processor)
    assert site.rejected() == [("timestamp_antigo", 2)]
    assert site.device().last_seen == moment("09:00")


def test_an_increment_belongs_to_the_interval_before_its_time(processor: TelemetryProcessor) -> None:
    Site(CASES["12-interval-end-incremental"], processor)
    assert rows("""
        SELECT to_char(bloco AT TIME ZONE 'America/Sao_Paulo', 'YYYY-MM'), sum(consumo)
        FROM tds_new_consumo_15min GROUP BY 1 ORDER BY 1
    """) == [("2026-10", 4), ("2026-11", 7)]


@pytest.mark.parametrize("name", ["21a-unit-wh-for-kwh", "21b-unit-spelling", "36-pulse-unit-sent"])
def test_a_unit_that_is_understood_is_not_rejected(processor: TelemetryProcessor, name: str) -> None:
    assert Site(CASES[name], processor).rejected() == []


def test_a_value_used_instead_leaves_the_raw_one(processor: TelemetryProcessor) -> None:
    site = Site(CASES["24-revised-reading"], processor)
    assert site.rejected() == [("conflito", 1)]
    assert rows("SELECT valor FROM tds_new_leitura_dispositivo ORDER BY time") == [(10,), (99,), (13,)]


def test_a_gap_over_a_month_is_shared_by_time(processor: TelemetryProcessor) -> None:
    Site(CASES["27-gap-over-month"], processor)
    assert rows("""
        SELECT to_char(mes_referencia AT TIME ZONE 'America/Sao_Paulo', 'YYYY-MM'), total_consumo
        FROM tds_new_consumo_mensal ORDER BY 1
    """) == [("2026-08", 160), ("2026-09", 140)]


def test_a_clock_months_back_spreads_nothing_over_them(processor: TelemetryProcessor) -> None:
    site = Site(CASES["34-clock-months-back"], processor)
    assert rows("SELECT count(*) FROM tds_new_consumo_15min WHERE bloco < '2026-10-01' AND consumo > 0") == [
        (0,)
    ]
    assert site.rejected() == [("timestamp_antigo", 2)]


def test_a_gap_does_not_look_measured(processor: TelemetryProcessor) -> None:
    Site(CASES["43-flow-per-hour-gap"], processor)
    assert rows("""
        SELECT qualidade, count(*), sum(consumo) FROM tds_new_consumo_15min WHERE consumo > 0
        GROUP BY 1 ORDER BY 1
    """) == [("INTERPOLADO", 24, Decimal("0.3")), ("MEDIDO", 2, 1)]


def test_injection_is_apart_from_consumption(processor: TelemetryProcessor) -> None:
    site = Site(CASES["42-import-export-one-meter"], processor)
    assert _sums_of_the_conta() == [("CONSUMO", False, 12), ("INJECAO", False, 20)]
    assert _dashboard(site) == {"CONSUMO": 12, "INJECAO": 20}


def test_sub_meters_are_not_added_to_their_main_meter(processor: TelemetryProcessor) -> None:
    site = Site(CASES["48-main-and-sub-meters"], processor)
    assert _sums_of_the_conta() == [("CONSUMO", False, 30), ("CONSUMO", True, 22)]
    assert _dashboard(site) == {"CONSUMO": 30}
    structure = in_structure([site.device(code) for code in ("GERAL", "AP1", "AP2")])
    meters = consumption_by_meter(site.conta, structure, this_month(site.conta, LATER), LATER)
    assert [(row.meter.codigo, row.depth, row.meter.consumption, row.uncovered) for row in meters] == [
        ("GERAL", 0, 30, 8),
        ("AP1", 1, 12, None),
        ("AP2", 1, 10, None),
    ]


def _sums_of_the_conta() -> list[tuple[Any, ...]]:
    """Return the Conta's sums by papel and whether the devices are behind another."""
    return rows("""
        SELECT papel, atras, sum(consumo) FROM tds_new_consumo_conta_diario GROUP BY 1, 2 ORDER BY 1, 2
    """)


def _dashboard(site: Site) -> dict[str, Decimal | None]:
    """Return the Conta's month on the dashboard, by papel."""
    found = month_to_date(site.conta, None, LATER)
    return {one.measure.papel: one.block_sum.total for one in found if one.block_sum.total}


@pytest.mark.parametrize("to", ["Casos", "Outro"])
def test_what_lies_between_two_contas_counts_where_a_person_says(
    processor: TelemetryProcessor, to: str
) -> None:
    site = Site(CASES["46-tenant-change"], processor)
    assert site.occurrences() == [("TRANSFERENCIA", True)]
    RevisaoLeitura.objects.create(
        dispositivo=site.device(),
        leitura_em=moment("12:00"),
        decisao="ATRIBUIDA",
        atribuida_a=Conta.objects.get(name=to),
        motivo="combinado",
    )
    site.settle()
    assert site.total() == 2
    assert site.occurrences() == [("TRANSFERENCIA", False)]
    assert rows(
        """SELECT conta.name, sum(consumo) FROM tds_new_consumo_15min
        JOIN tds_new_conta conta ON conta.id = conta_id WHERE consumo > 0 GROUP BY 1 ORDER BY 1"""
    ) == sorted({"Casos": 1, to: 2 if to == "Casos" else 1}.items())
