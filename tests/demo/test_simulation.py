"""The simulation: registers, gauges, payloads and the publisher."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from tds_new.demo.backlog import send_backlog
from tds_new.demo.curves import ENERGY, WATER, Consumption, Gauge, gauge, register
from tds_new.demo.fleet import CONTA, FLEET, LOGIN, TEST_SITE
from tds_new.demo.outbox import MEMORY, RESEND_S, WINDOW, Outbox
from tds_new.demo.publisher import Publisher, Station
from tds_new.demo.simulation import SimulatedGateway, registered, schedule, simulated
from tds_new.ingestion.message import Message
from tds_new.models import (
    Conta,
    ContaMembership,
    Dispositivo,
    Gateway,
    LeituraDispositivo,
    LeituraEmRevisao,
    MensagemRejeitada,
    OcorrenciaMedicao,
    User,
)
from tests.support import factories

SAO_PAULO, NEW_YORK = ZoneInfo("America/Sao_Paulo"), ZoneInfo("America/New_York")
SHOP = Consumption(400, 0.5, ENERGY)
moments = st.integers(1_735_700_000, 1_830_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(moments, st.timedeltas(timedelta(0), timedelta(days=40)), st.sampled_from([SAO_PAULO, NEW_YORK]))
def test_a_register_never_goes_backwards(moment: datetime, later: timedelta, zone: ZoneInfo) -> None:
    assert register("a", SHOP, moment, zone) <= register("a", SHOP, moment + later, zone)


def test_increments_add_up_to_the_register() -> None:
    start, end = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 12, tzinfo=UTC)
    times = [start, *schedule(start, end, timedelta(minutes=15))]
    values = [register("a", SHOP, each, SAO_PAULO) for each in times]
    assert sum(b - a for a, b in pairwise(values)) == values[-1] - values[0]
    assert values[-1] > values[0]


def day_total(curve: Consumption, day: date) -> int:
    start, end = (
        datetime(each.year, each.month, each.day, tzinfo=SAO_PAULO) for each in (day, day + timedelta(days=1))
    )
    return register("a", curve, end, SAO_PAULO) - register("a", curve, start, SAO_PAULO)


def test_weekends_are_quieter_and_water_peaks_in_the_morning() -> None:
    monday = date(2026, 3, 2)
    assert all(
        day_total(SHOP, monday + timedelta(days=5)) < day_total(SHOP, monday + timedelta(days=n))
        for n in range(5)
    )
    curve = Consumption(10, 0.5, WATER)
    hours = [datetime(2026, 3, 4, hour, tzinfo=SAO_PAULO) for hour in range(24)]
    used = [
        register("a", curve, hour + timedelta(hours=1), SAO_PAULO) - register("a", curve, hour, SAO_PAULO)
        for hour in hours
    ]
    assert used.index(max(used)) in (6, 7, 8)
    assert max(used[17:21]) > max(used[12:16])


def test_a_freezer_is_below_zero_and_the_afternoon_is_warmer() -> None:
    noon = datetime(2026, 3, 4, 12, tzinfo=UTC)
    assert gauge("a", Gauge(-18, 1, 0.5), noon, SAO_PAULO) < -15_000
    room = Gauge(23, 4, 0.2)
    assert gauge("a", room, datetime(2026, 3, 4, 15, tzinfo=SAO_PAULO), SAO_PAULO) > gauge(
        "a", room, datetime(2026, 3, 4, 4, tzinfo=SAO_PAULO), SAO_PAULO
    )


@pytest.mark.django_db
def test_demo_data_is_what_the_contract_says_and_a_second_run_changes_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    call_command("create_demo_data")
    said = capsys.readouterr().out
    password = said.split(f"{LOGIN} password ")[1].split()[0]
    call_command("create_demo_data")
    assert "(password unchanged)" in capsys.readouterr().out
    conta, gateway = Conta.objects.get(), Gateway.objects.get()
    assert (conta.name, gateway.codigo, gateway.mac, gateway.conta) == (
        CONTA,
        "GW-TEST-001",
        "aa:bb:cc:dd:ee:ff",
        conta,
    )
    devices = Dispositivo.objects.order_by("codigo").values_list(
        "codigo", "unidade", "tipo_leitura", "tipo", "grandeza"
    )
    assert list(devices) == [
        ("D01", "kWh", "INCREMENTAL", "MEDIDOR", "ENERGIA"),
        ("D02", "m³", "INCREMENTAL", "MEDIDOR", "AGUA"),
        ("D03", "°C", "INSTANTANEA", "SENSOR", "TEMPERATURA"),
    ]
    user = User.objects.get()
    assert (user.email, user.is_staff, user.check_password(password)) == (LOGIN, False, True)
    assert ContaMembership.objects.get().conta == conta
    assert said.isascii()


@pytest.mark.django_db
def test_a_spike_of_an_energy_register_is_held_for_review_and_nothing_that_is_simulated() -> None:
    call_command("create_demo_data", fleet=True)
    meters = Dispositivo.objects.filter(tipo_leitura="ACUMULADA", grandeza="ENERGIA")
    start = datetime(2026, 1, 5, tzinfo=UTC)  # a summer's Monday
    step = timedelta(minutes=15)
    for gateway in simulated(registered()):
        for device in gateway.devices:
            meter = meters.filter(gateway__mac=gateway.mac, codigo=device.codigo).first()
            if meter is None:
                continue
            points = [
                (start + n * step, Decimal(device.value(start + n * step, start, gateway.zone)) / 1000)
                for n in range(5 * 96)
            ]
            factories.readings(meter, points)
    assert meters.count() == 11
    assert not OcorrenciaMedicao.objects.exists()

    factories.readings(meter := meters[0], [(start + 500 * step, 999_999)])

    (spike,) = LeituraEmRevisao.objects.filter(dispositivo=meter)
    assert (spike.classe, spike.valor) == ("SUSPEITA", 999_999)


@pytest.mark.django_db
def test_the_fleet_has_main_and_sub_meters_a_solar_meter_and_pulses() -> None:
    call_command("create_demo_data", fleet=True)
    devices = Dispositivo.objects.order_by("gateway__codigo", "codigo")

    def codes(**fields: Any) -> list[tuple[str, ...]]:
        return list(devices.filter(**fields).values_list("gateway__codigo", "codigo"))

    assert codes(atras=True) == [
        ("GALPAO-1", "E11"),
        ("GALPAO-1", "E12"),
        ("LJ-CENTRO", "E11"),
        ("LJ-CENTRO", "E12"),
    ]
    assert set(devices.filter(atras=True).values_list("medidor_pai__codigo", flat=True)) == {"E01"}
    assert codes(papel="INJECAO") == [("GALPAO-2", "S01")]
    assert codes(papel="INFORMATIVO") == [("ESCRITORIO", "E02")]
    assert codes(unidade="pulsos", unidade_consumo="m³", fator_conversao="0.01") == [("GALPAO-2", "A01")]


@pytest.mark.django_db
def test_sub_meters_never_measure_more_than_their_main_meter_at_any_moment() -> None:
    call_command("create_demo_data", fleet=True)
    fleet = {gateway.codigo: {d.codigo: d for d in gateway.devices} for gateway in simulated(registered())}
    start, step = datetime(2026, 3, 6, tzinfo=UTC), timedelta(minutes=15)  # a Friday and a weekend
    times = [start + n * step for n in range(3 * 96)]

    def steps(codigo: str, meter: str) -> list[int]:
        values = [fleet[codigo][meter].value(at, at, SAO_PAULO) for at in times]
        return [b - a for a, b in pairwise(values)]

    for site in ("LJ-CENTRO", "GALPAO-1"):
        main = steps(site, "E01")
        behind = [a + b for a, b in zip(steps(site, "E11"), steps(site, "E12"), strict=True)]
        assert all(0 < part < whole for part, whole in zip(behind, main, strict=True))
        assert 0.4 * sum(main) < sum(behind) < 0.9 * sum(main)
    pulses = steps("GALPAO-2", "A01")
    assert all(step % 1000 == 0 for step in pulses)
    assert 300_000 < sum(pulses) < 6_000_000  # a hundredth of a m³ each
    panels = steps("GALPAO-2", "S01")
    by_hour = {at.astimezone(SAO_PAULO).hour: fed_in for at, fed_in in zip(times, panels, strict=False)}
    assert by_hour[12] > 0
    assert by_hour[0] == by_hour[4] == by_hour[20] == 0


@pytest.mark.django_db
def test_a_fleet_of_an_earlier_version_gets_its_sub_meters_and_no_register_jumps() -> None:
    conta = Conta.objects.create(name=CONTA)
    site = next(site for site in FLEET if site.codigo == "LJ-CENTRO")
    gateway = Gateway.objects.create(conta=conta, codigo=site.codigo, mac=site.mac)
    for codigo in ("E01", "E02"):
        Dispositivo.objects.create(gateway=gateway, codigo=codigo)
    at = datetime(2026, 3, 6, 12, tzinfo=UTC)
    before = registers_of(simulated(registered()), site.codigo, at)
    call_command("create_demo_data", fleet=True)

    after = registers_of(simulated(registered()), site.codigo, at)
    assert after | before == after
    sub_meters = Dispositivo.objects.filter(gateway=gateway, atras=True)
    assert set(sub_meters.values_list("codigo", "medidor_pai__codigo")) == {("E11", "E01"), ("E12", "E01")}


def registers_of(fleet: list[SimulatedGateway], codigo: str, at: datetime) -> dict[str, int]:
    (simulation,) = (gateway for gateway in fleet if gateway.codigo == codigo)
    return {d.codigo: d.value(at, at, SAO_PAULO) for d in simulation.devices}


@pytest.mark.django_db
def test_a_known_password_is_never_made_outside_the_embedded_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(CommandError, match="createsuperuser"):
        call_command("create_demo_data", staff=True)
    with pytest.raises(CommandError):
        call_command("create_demo_data", password="123")
    assert not User.objects.exists()
    call_command("create_demo_data", password="uma-senha-bem-longa")
    assert User.objects.get().check_password("uma-senha-bem-longa")


@pytest.mark.django_db
def test_a_gateway_of_somebody_else_is_left_alone() -> None:
    other = Conta.objects.create(name="Outra")
    Gateway.objects.create(conta=other, codigo="X", mac=TEST_SITE.mac)
    with pytest.raises(CommandError, match="another Conta"):
        call_command("create_demo_data")
    assert Gateway.objects.get().conta == other


@pytest.mark.django_db(transaction=True)
def test_the_backlog_is_stored_completely_and_is_joined_by_the_next_one() -> None:
    call_command("create_demo_data", fleet=True)
    assert Gateway.objects.count() == len(FLEET) + 1
    first = send_backlog(registered(), days=2)
    assert first.messages == (len(FLEET) + 1) * 192
    assert (
        first.stored
        == sum(len(site.devices) for site in (TEST_SITE, *FLEET)) * 192
        == LeituraDispositivo.objects.count()
    )
    assert not MensagemRejeitada.objects.exists()
    again = send_backlog(registered(), days=2)
    assert again.duplicates == 0
    assert again.stored <= 2 * len(FLEET) * 4  # where a quarter of an hour has just passed
    register_values = LeituraDispositivo.objects.filter(
        dispositivo__codigo="E01", gateway__codigo="GALPAO-1"
    ).order_by("time")
    values = list(register_values.values_list("valor", flat=True))
    assert values == sorted(values)
    assert LeituraDispositivo.objects.filter(valor__lt=0).exists()


@pytest.mark.django_db
def test_a_payload_carries_exact_values_and_its_number_if_asked() -> None:
    call_command("create_demo_data")
    [gateway] = simulated(registered())
    now = datetime(2026, 3, 4, 12, tzinfo=UTC)
    body = json.loads(gateway.telemetry(now, now - timedelta(minutes=5), 7), parse_float=Decimal)
    assert (body["gateway_mac"], body["timestamp"], body["seq"]) == (
        TEST_SITE.mac,
        "2026-03-04T12:00:00.000Z",
        7,
    )
    assert [each["dispositivo_codigo"] for each in body["leituras"]] == ["D01", "D02", "D03"]
    assert all(abs(each["valor"].as_tuple().exponent) <= 3 for each in body["leituras"])
    assert "seq" not in json.loads(gateway.telemetry(now, now))


class FakeLink:
    """A connection that keeps what is published."""

    def __init__(self, unsent: int = 0) -> None:
        self.connection, self.connected, self.unsent = 1, True, unsent
        self.published: list[tuple[str, bytes, int, bool]] = []
        self.acknowledged: list[Message] = []
        self.handler: Callable[[Message], None] | None = None

    def connect(self) -> None:
        self.connected = True

    def register_handler(self, pattern: str, handler: Callable[[Message], None]) -> None:
        self.handler = handler

    def subscribe(self, pattern: str, qos: int = 1) -> None:
        self.subscribed = pattern

    def ack(self, messages: Iterable[Message]) -> None:
        self.acknowledged.extend(messages)

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        self.published.append((topic.rsplit("/", 1)[1], payload, qos, retain))
        if topic.endswith("telemetry") and len(self.published) < 5:
            self.connection += 1  # the connection was lost and is back

    def disconnect(self, timeout: float = 5.0) -> None:
        self.connected = False


@pytest.mark.django_db
def test_a_gateway_announces_itself_on_every_connection_and_says_goodbye() -> None:
    call_command("create_demo_data")
    [gateway] = simulated(registered())
    link = FakeLink()
    done = Publisher([Station(gateway, link, datetime.now(UTC))], 0.001, count=2, seq=False).run()
    assert [(leaf, payload) for leaf, payload, _, _ in link.published if leaf == "status"] == [
        ("status", b"online"), ("status", b"online"), ("status", b"offline"),
    ]  # fmt: skip
    assert all(retain == (leaf == "status") for leaf, _, _, retain in link.published)
    assert [leaf for leaf, *_ in link.published].count("heartbeat") == 1
    assert (done.messages, done.missed, link.connected) == (2, 0, False)


@pytest.mark.django_db
def test_a_message_that_is_refused_for_good_is_not_sent_again_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    call_command("create_demo_data")
    [gateway] = simulated(registered())
    link = FakeLink()
    publisher = Publisher([Station(gateway, link, datetime.now(UTC))], 0.001)
    [station] = publisher._stations
    topic = gateway.topic(settings.MQTT_TOPIC_PREFIX, "ack")
    for seq, answer in ((1, b'{"seq": 1}'), (2, b'{"seq": 2, "erro": "mac_divergente"}'), (3, b"[]")):
        station.outbox.put(seq, b"x")
        publisher._answers.append(Message(topic, answer, datetime.now(UTC)))
    publisher._handle_answers(0)
    assert (publisher.published.answered, publisher.published.refused, len(station.outbox)) == (2, 1, 1)
    assert "message 2 was refused for good: 'mac_divergente'" in caplog.text


@pytest.mark.django_db
def test_a_gateway_measures_no_more_than_it_can_keep_while_the_broker_is_away() -> None:
    call_command("create_demo_data")
    [gateway] = simulated(registered())
    publisher = Publisher(
        [Station(gateway, FakeLink(unsent=MEMORY), datetime.now(UTC))], 0.001, count=3, seq=False
    )
    publisher._publish(publisher._stations[0])
    assert (publisher.published.messages, publisher.published.missed) == (0, 1)


@pytest.mark.django_db
def test_a_gateway_that_nobody_answers_keeps_so_many_messages_and_measures_no_more() -> None:
    call_command("create_demo_data")
    [gateway] = simulated(registered())
    link = FakeLink()
    publisher = Publisher([Station(gateway, link, datetime.now(UTC))], 0.001)
    for _ in range(MEMORY + 5):
        publisher._publish(publisher._stations[0])
    assert (publisher.published.messages, publisher.published.missed) == (MEMORY, 5)
    assert [leaf for leaf, *_ in link.published].count("telemetry") >= WINDOW


def test_an_outbox_sends_again_later_each_time_and_everything_on_a_new_connection() -> None:
    outbox = Outbox()
    for seq in (1, 2, 3):
        outbox.put(seq, b"%d" % seq)
    assert outbox.dequeue_due(0, connection=1) == [b"1", b"2", b"3"]
    assert outbox.dequeue_due(RESEND_S - 1, connection=1) == []
    assert outbox.answered(2)
    assert not outbox.answered(2)
    assert not outbox.answered(99)
    assert outbox.dequeue_due(RESEND_S, connection=1) == [b"1", b"3"]
    assert outbox.dequeue_due(RESEND_S * 3 - 1, connection=1) == []
    assert outbox.dequeue_due(RESEND_S * 3, connection=1) == [b"1", b"3"]
    assert outbox.dequeue_due(RESEND_S * 3 + 1, connection=2) == [b"1", b"3"]
    assert outbox.answered(1)
    assert outbox.answered(3)
    assert len(outbox) == 0
    assert outbox.dequeue_due(1e9, connection=3) == []


def test_an_outbox_has_only_so_many_under_way() -> None:
    outbox = Outbox()
    for seq in range(WINDOW + 2):
        outbox.put(seq, b"%d" % seq)
    assert len(outbox.dequeue_due(0, connection=1)) == WINDOW
    assert outbox.answered(0)
    assert outbox.dequeue_due(0, connection=1) == [b"%d" % WINDOW]


@pytest.mark.django_db
def test_simulate_gateways_needs_a_registered_gateway() -> None:
    with pytest.raises(CommandError, match="create_demo_data"):
        call_command("simulate_gateways", gateways=1, interval=1, count=1)
    with pytest.raises(CommandError, match="at least 1"):
        call_command("simulate_gateways", gateways=0, interval=1)
