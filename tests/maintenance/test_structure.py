"""A changed structure of meters rewrites no block, and the sums of Contas are made again."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tds_new.maintenance import scheduler, structure
from tds_new.models import (
    ConsumoContaPendente,
    Conta,
    ContaAtividade,
    Dispositivo,
    Gateway,
    ManutencaoExecucao,
)
from tds_new.queries.structure import structure_is_pending
from tds_new.storage.rollups import CONTA_DAILY, CONTA_HOURLY
from tests.support.sums import refresh, rows

Session = psycopg.Connection[Any]
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
OLDEST, DAYS = NOW - timedelta(days=100), 100
BLOCKS = """
INSERT INTO tds_new_consumo_15min
    (bloco, consumo, leituras, fracao_medida, qualidade, conta_id, dispositivo_id, gateway_id)
SELECT %s + n * INTERVAL '6 hours', d.id, 1, 1, 'MEDIDO', d.conta_id, d.id, d.gateway_id
FROM generate_series(0, 4 * %s - 1) n CROSS JOIN tds_new_dispositivo d
"""
RIGHT = """
SELECT conta_id, d.grandeza, d.papel, d.atras, d.unidade_consumo, sum(b.consumo) FROM tds_new_consumo_15min b
JOIN (SELECT id, grandeza, papel, atras, coalesce(nullif(unidade_consumo, ''), unidade) AS unidade_consumo
    FROM tds_new_dispositivo) d ON d.id = b.dispositivo_id
GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
"""
STORED = """
SELECT conta_id, grandeza, papel, atras, unidade, sum(consumo) FROM {}
GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
"""
# Of chunks that are not compressed: a compressed row has no version to compare.
VERSIONS = f"""
SELECT count(*), sum(hashtextextended(concat(xmin, ctid), 0)) FROM tds_new_consumo_15min
WHERE bloco >= '{NOW - timedelta(days=30)}'
"""
PASSES = 4  # of 31 days


@pytest.fixture
def devices(maintenance_session: Session) -> list[Dispositivo]:
    """Three devices of one Conta and one of another, with blocks of 100 days and stored sums."""
    found = []
    for name, count, mac in (("Aurora", 3, "aa:bb:cc:dd:ee:01"), ("Outra", 1, "aa:bb:cc:dd:ee:02")):
        conta = Conta.objects.create(name=name)
        ContaAtividade.objects.create(conta=conta)
        gateway = Gateway.objects.create(conta=conta, codigo="G", mac=mac)
        found += [Dispositivo.objects.create(gateway=gateway, codigo=f"D{n}") for n in range(count)]
    maintenance_session.execute(BLOCKS, [OLDEST, DAYS])
    refresh()
    return found


def stored() -> list[list[tuple[Any, ...]]]:
    """What the stored sums of Contas say, by hours and by days."""
    return [rows(STORED.format(rollup.name)) for rollup in (CONTA_HOURLY, CONTA_DAILY)]


def change(device: Dispositivo, **fields: Any) -> None:
    Dispositivo.objects.filter(pk=device.pk).update(**fields)


@pytest.mark.timescale
@pytest.mark.parametrize(
    "fields",
    [
        {"papel": "INJECAO"},
        {"grandeza": "AGUA"},
        {"unidade": "Wh"},
        {"unidade_consumo": "MWh"},
        {"medidor_pai": 0},
    ],
    ids=str,
)
def test_sums_follow_and_no_block_is_written(
    devices: list[Dispositivo], maintenance_session: Session, fields: dict[str, Any]
) -> None:
    before, versions = stored(), rows(VERSIONS)
    asked = ContaAtividade.objects.get(conta=devices[0].conta).consumo_seq
    change(devices[0], **({"medidor_pai": devices[1]} if "medidor_pai" in fields else fields))
    assert ContaAtividade.objects.get(conta=devices[0].conta).consumo_seq > asked
    assert structure_is_pending(devices[0].conta_id)
    assert not structure_is_pending(devices[3].conta_id)
    assert stored() == before
    for _ in range(PASSES):
        assert structure_is_pending(devices[0].conta_id)
        scheduler.run_due(maintenance_session)
    assert not ConsumoContaPendente.objects.exists()
    assert stored() == [rows(RIGHT)] * 2
    assert rows(VERSIONS) == versions
    scheduler.run_due(maintenance_session)
    assert not ManutencaoExecucao.objects.filter(nome=structure.NAME).exists()


@pytest.mark.timescale
def test_the_newest_month_is_right_first(devices: list[Dispositivo], maintenance_session: Session) -> None:
    change(devices[0], papel="INJECAO")
    structure.sum_next(maintenance_session)
    newest = f"SELECT sum(consumo) FROM {CONTA_HOURLY.name} WHERE papel = 'INJECAO' AND hora >= %s"
    assert rows(newest, NOW - timedelta(days=30)) == [(Decimal(devices[0].pk * 30 * 4),)]
    assert rows(newest, OLDEST)[0][0] < devices[0].pk * DAYS * 4


@pytest.mark.timescale
def test_what_changes_meanwhile_is_summed_from_the_newest_on_again(
    devices: list[Dispositivo], maintenance_session: Session
) -> None:
    change(devices[0], papel="INJECAO")
    structure.sum_next(maintenance_session)
    change(devices[1], papel="INJECAO")
    change(devices[3], papel="INFORMATIVO")
    for _ in range(PASSES - 1):
        structure.sum_next(maintenance_session)
    assert structure_is_pending(devices[0].conta_id)
    structure.sum_next(maintenance_session)
    assert not ConsumoContaPendente.objects.exists()
    assert stored() == [rows(RIGHT)] * 2


@pytest.mark.timescale
def test_everything_is_done_in_one_run(devices: list[Dispositivo], maintenance_session: Session) -> None:
    change(devices[0], papel="INJECAO")
    done = Counter(task.name for task in scheduler.run_due(maintenance_session, everything=True))
    assert done[structure.NAME] == PASSES
    assert stored() == [rows(RIGHT)] * 2


@pytest.mark.timescale
def test_a_paused_task_leaves_it_for_later(devices: list[Dispositivo], maintenance_session: Session) -> None:
    change(devices[0], papel="INJECAO")
    done = scheduler.run_due(maintenance_session, {structure.NAME})
    assert structure.NAME not in {task.name for task in done}
    assert structure_is_pending(devices[0].conta_id)


def test_plain_sums_follow_at_once(devices: list[Dispositivo], on_timescale: bool) -> None:
    if on_timescale:
        pytest.skip("views only")
    change(devices[0], papel="INJECAO")
    change(devices[1], medidor_pai=devices[2])
    assert not ConsumoContaPendente.objects.exists()
    assert stored() == [rows(RIGHT)] * 2


def test_a_change_of_the_main_meter_alone_has_dashboards_ask_again(devices: list[Dispositivo]) -> None:
    change(devices[0], medidor_pai=devices[1])
    ConsumoContaPendente.objects.all().delete()
    asked = ContaAtividade.objects.get(conta=devices[0].conta).consumo_seq
    change(devices[0], medidor_pai=devices[2])
    assert ContaAtividade.objects.get(conta=devices[0].conta).consumo_seq == asked + 1
    assert not ConsumoContaPendente.objects.exists()


def test_plain_postgresql_has_nothing_to_sum_again(
    devices: list[Dispositivo], maintenance_session: Session, on_timescale: bool
) -> None:
    if on_timescale:
        pytest.skip("views only")
    # As a database that was TimescaleDB's when it was dumped.
    ConsumoContaPendente.objects.create(conta=devices[0].conta, alterada_em=NOW)
    scheduler.run_due(maintenance_session)
    assert not ConsumoContaPendente.objects.exists()
