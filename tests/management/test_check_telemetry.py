"""``check_telemetry``: what arrived per gateway, and exit 1 if it is inconsistent."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.db import connection

from tds_new.demo.simulation import registered, simulated
from tds_new.ingestion.message import Message
from tds_new.ingestion.telemetry_processor import open_processor
from tds_new.models import ConsumoEstado, ConsumoPendente, Conta, Dispositivo, Gateway

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


def receive(topic: str, payload: bytes) -> None:
    with open_processor() as processor:
        processor.process([Message(topic=topic, payload=payload, received_at=datetime.now(UTC))])


@pytest.fixture
def _received(transactional_db: None) -> None:
    call_command("create_demo_data")
    [gateway] = simulated(registered())
    receive("tds_new/devices/aabbccddeeff/telemetry", gateway.telemetry(NOW, NOW - timedelta(minutes=5)))
    receive("tds_new/devices/aabbccddeeff/telemetry", b"{")
    receive("tds_new/devices/ffffffffffff/telemetry", b"{}")


@pytest.mark.usefixtures("_received")
def test_what_arrived_is_counted_per_gateway(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    call_command("check_telemetry")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:2] == ["GW-TEST-001", "aa:bb:cc:dd:ee:ff"]
    assert lines[1].split()[4:] == ["2026-03-04", "12:00:00Z", "3", "1", "0", "1"]
    assert lines[2].startswith("(not registered)")
    assert lines[3] == "[OK] 1 gateways, 3 readings, 2 rejected, 0 orphans, 0 devices under another tenant"
    assert lines[4].startswith("[OK] consumption: the oldest range to compute waits ")


@pytest.mark.usefixtures("_received")
def test_a_device_whose_consumption_cannot_be_computed_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    ConsumoPendente.objects.all().delete()
    ConsumoPendente.objects.create(
        particao=0, inicio=NOW, fim=NOW, dispositivos=[8], tentar_em=NOW, erro="CheckViolation: refused"
    )
    with pytest.raises(SystemExit):
        call_command("check_telemetry")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        "[OK] consumption: the oldest range to compute waits 0 s",
        "[ERROR] consumption of devices 8 (id) cannot be computed: CheckViolation: refused",
    ]


@pytest.mark.usefixtures("_received")
def test_what_waits_for_a_rebuild_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    one, other = Dispositivo.objects.order_by("codigo")[:2]
    for device, since in ((one, NOW), (other, NOW - timedelta(days=3))):
        ConsumoEstado.objects.update_or_create(
            dispositivo=device, defaults={"reconstruir_desde": since, "segunda_edicao_desde": NOW}
        )
    call_command("check_telemetry")
    waits = "[WARN] 2 devices wait for rebuild_consumption, since {}: what changes there is not computed"
    assert waits.format("2026-03-01 12:00:00Z") in capsys.readouterr().out
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE tds_new_consumo_estado SET reconstruir_desde = '-infinity' WHERE dispositivo_id = %s",
            [one.pk],
        )
    call_command("check_telemetry")
    assert waits.format("their beginning") in capsys.readouterr().out


@pytest.mark.usefixtures("_received")
def test_readings_without_a_device_are_inconsistent(capsys: pytest.CaptureFixture[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tds_new_leitura_dispositivo SET dispositivo_id = 999999 WHERE unidade = 'kWh'")
    with pytest.raises(SystemExit) as exit_:
        call_command("check_telemetry")
    assert exit_.value.code == 1
    assert "[ERROR] 1 gateways, 3 readings, 2 rejected, 1 orphans" in capsys.readouterr().out


@pytest.mark.usefixtures("_received")
def test_a_device_under_another_tenant_than_its_gateway_is_inconsistent() -> None:
    Dispositivo.objects.filter(codigo="D01").update(conta=Conta.objects.create(name="Outra"))
    with pytest.raises(SystemExit):
        call_command("check_telemetry")


@pytest.mark.usefixtures("_received")
def test_a_gateway_that_moved_to_another_tenant_is_consistent(capsys: pytest.CaptureFixture[str]) -> None:
    gateway = Gateway.objects.get()
    gateway.conta = Conta.objects.create(name="Outra")
    gateway.save()
    call_command("check_telemetry")
    assert "[OK] 1 gateways" in capsys.readouterr().out
