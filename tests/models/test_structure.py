"""The structure of meters, and the defaults of metering parameters, whoever writes the tables."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from itertools import product
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from tds_new.models import AuditoriaMedicao, Conta, Dispositivo, Gateway
from tds_new.units import default_dip_tolerance, default_hourly_maximum

Make = Callable[..., Dispositivo]
NO_LIMIT = {"consumo_maximo_hora": None}


def sql(statement: str, *parameters: object) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, parameters)


@pytest.fixture
def gateway(db: None) -> Gateway:
    return Gateway.objects.create(
        conta=Conta.objects.create(name="Aurora"),
        codigo="G",
        mac="aa:bb:cc:dd:ee:01",
        qte_max_dispositivos=50,
    )


@pytest.fixture
def make(gateway: Gateway) -> Make:
    def create(codigo: str, pai: Dispositivo | None = None, **fields: Any) -> Dispositivo:
        values = {"gateway": gateway, **fields}
        return Dispositivo.objects.create(codigo=codigo, medidor_pai=pai, **values)

    return create


def behind(*devices: Dispositivo) -> list[bool]:
    """What the database says of each."""
    flags = dict(Dispositivo.objects.values_list("pk", "atras"))
    return [flags[device.pk] for device in devices]


class TestDefaults:
    @pytest.mark.parametrize(
        ("grandeza", "unidade", "unidade_consumo", "fator", "maximum", "tolerance"),
        [
            ("ENERGIA", "kWh", "", "1", "1000", "0.1"),
            ("ENERGIA", "kWh", "", "80", "1000", "0.1"),
            ("ENERGIA", " k W h", "", "1", "1000", "0.1"),
            ("ENERGIA", "Wh", "", "1", "1000000", "100"),
            ("ENERGIA", "MWh", "", "1", "1", "0.0001"),
            ("ENERGIA", "pulsos", "kWh", "0.001", "1000000", "100"),
            ("ENERGIA", "pulsos", "", "1", None, "0"),
            ("ENERGIA", "m³", "", "1", None, "0"),
            ("AGUA", "m³", "", "1", "100", "0.01"),
            ("AGUA", "M3", "", "1", "100", "0.01"),
            ("AGUA", "m^3", "", "1", "100", "0.01"),
            ("AGUA", "Litros", "", "1", "100000", "10"),
            ("AGUA", "pulsos", "m³", "0.01", "10000", "1"),
            ("AGUA", "pulsos", "L", "10", "10000", "1"),
            ("GAS", "m³", "", "1", "1000", "0.01"),
            ("TEMPERATURA", "°C", "", "1", None, "0"),
            ("ENERGIA", "pulsos", "Wh", "0.000001", "99999999999.9999", "100000000"),
        ],
    )
    def test_a_quantity_in_its_registers_unit(
        self,
        make: Make,
        grandeza: str,
        unidade: str,
        unidade_consumo: str,
        fator: str,
        maximum: str | None,
        tolerance: str,
    ) -> None:
        device = make(
            "D",
            grandeza=grandeza,
            unidade=unidade,
            unidade_consumo=unidade_consumo,
            fator_conversao=Decimal(fator),
        )
        for seen in (device, Dispositivo.objects.get(pk=device.pk)):
            assert seen.consumo_maximo_hora == (None if maximum is None else Decimal(maximum))
            assert seen.tolerancia_queda == Decimal(tolerance)

    @pytest.mark.parametrize("grandeza", ["ENERGIA", "AGUA", "GAS", "TEMPERATURA"])
    def test_the_database_and_the_code_have_the_same(self, db: None, grandeza: str) -> None:
        units = ("kWh", " K WH", "Wh", "MWh", "m³", "m^3", "M3", "㎥", "L", "Litros", "pulsos", "°C", "")
        for unit, consumption_unit, factor in product(units, units, (1, Fraction(1, 800), 40)):
            arguments = (grandeza, unit, consumption_unit, Fraction(factor))
            with connection.cursor() as cursor:
                query = "SELECT * FROM tds_new_padroes(%s, %s, %s, %s)"
                cursor.execute(query, [*arguments[:3], Decimal(float(factor))])
                maximum, tolerance = cursor.fetchone()
            expected = default_hourly_maximum(*arguments)
            assert (maximum is None) == (expected is None), arguments
            # The database has four decimals.
            assert abs(Fraction(maximum or 0) - (expected or 0)) <= Fraction(1, 20_000), arguments
            assert abs(Fraction(tolerance) - default_dip_tolerance(*arguments)) <= Fraction(1, 20_000), (
                arguments
            )

    def test_what_is_given_stays(self, make: Make) -> None:
        device = make("D", consumo_maximo_hora=None, tolerancia_queda=Decimal(0))
        device.refresh_from_db()
        assert (device.consumo_maximo_hora, device.tolerancia_queda) == (None, 0)

    def test_in_bulk_and_by_sql_too(self, gateway: Gateway) -> None:
        bulk = Dispositivo(gateway=gateway, conta=gateway.conta, codigo="B")
        Dispositivo.objects.bulk_create([bulk])
        assert bulk.consumo_maximo_hora == 1000
        sql(
            "INSERT INTO tds_new_dispositivo (conta_id, gateway_id, codigo, consumo_maximo_hora)"
            " VALUES (%s, %s, 'S', NULL)",
            gateway.conta_id,
            gateway.pk,
        )
        found = Dispositivo.objects.get(codigo="S")
        assert (found.consumo_maximo_hora, found.tolerancia_queda) == (None, Decimal("0.1"))

    def test_the_default_can_be_asked_for_later_and_is_in_the_trail(self, make: Make) -> None:
        device = make("D", **NO_LIMIT)
        Dispositivo.objects.filter(pk=device.pk).update(consumo_maximo_hora=-1)
        device.refresh_from_db()
        assert device.consumo_maximo_hora == 1000
        last = AuditoriaMedicao.objects.filter(dispositivo=device).latest("id")
        assert (last.antes["consumo_maximo_hora"], last.depois["consumo_maximo_hora"]) == (None, 1000)


class TestStructure:
    def test_a_meter_is_behind_another_of_its_quantity_and_role(self, make: Make) -> None:
        main = make("M")
        below = make("A", main)
        assert behind(
            main,
            below,
            make("B", below),
            make("C", main, papel="INJECAO"),
            make("D", main, grandeza="AGUA", unidade="m³"),
        ) == [False, True, True, False, False]

    @pytest.mark.parametrize(
        "change", [{"papel": "INJECAO"}, {"grandeza": "AGUA"}, {"status": "INATIVO"}], ids=str
    )
    def test_sub_meters_follow_their_main_meter(self, make: Make, change: dict[str, str]) -> None:
        main = make("M")
        below, further = make("A", main), make("B", main)
        before = Dispositivo.objects.filter(pk=main.pk).values(*change).get()
        Dispositivo.objects.filter(pk=main.pk).update(**change)
        assert behind(below, further) == [False, False]
        Dispositivo.objects.filter(pk=main.pk).update(**before)
        assert behind(below, further) == [True, True]

    def test_one_statement_may_change_all(self, make: Make) -> None:
        main = make("M")
        below = make("A", main)
        further = make("B", below)
        Dispositivo.objects.update(papel="INJECAO")
        assert behind(main, below, further) == [False, True, True]

    def test_an_instance_does_not_overwrite_the_flag(self, make: Make) -> None:
        main = make("M")
        below = make("A", main)
        below.atras = False
        below.save()
        assert behind(below) == [True]

    def test_a_main_meter_that_is_deleted_is_none(self, make: Make) -> None:
        main = make("M")
        below = make("A", main)
        main.delete()
        below.refresh_from_db()
        assert (below.medidor_pai, below.atras) == (None, False)

    def test_circles_are_refused(self, make: Make) -> None:
        first = make("A")
        second = make("B", first)
        third = make("C", second)
        for device, parent in ((first, first), (first, second), (first, third), (second, third)):
            with pytest.raises(IntegrityError, match="would be behind itself"), transaction.atomic():
                Dispositivo.objects.filter(pk=device.pk).update(medidor_pai=parent)

    def test_a_meter_of_another_conta_is_refused(self, make: Make) -> None:
        other = Gateway.objects.create(
            conta=Conta.objects.create(name="Outra"), codigo="O", mac="aa:bb:cc:dd:ee:02"
        )
        foreign = Dispositivo.objects.create(gateway=other, codigo="F")
        with pytest.raises(IntegrityError, match="another conta"), transaction.atomic():
            make("A", foreign)

    def test_a_gateway_takes_its_devices_and_their_structure_to_another_conta(
        self, make: Make, gateway: Gateway
    ) -> None:
        stays = Gateway.objects.create(conta=gateway.conta, codigo="S", mac="aa:bb:cc:dd:ee:02")
        main, left = make("M"), make("L", gateway=stays)
        below, left_alone, moved = make("A", main), make("B", left), make("C", main, gateway=stays)
        gateway.conta = Conta.objects.create(name="Nova")
        gateway.save()
        assert behind(main, below, left_alone, moved, left) == [False, True, False, False, False]
        left_alone.refresh_from_db()
        moved.refresh_from_db()
        assert (left_alone.medidor_pai, moved.medidor_pai) == (None, None)

    def test_the_structure_is_in_the_trail(self, make: Make) -> None:
        main = make("M")
        below = make("A")
        below.medidor_pai, below.papel = main, "INJECAO"
        below.save()
        last = AuditoriaMedicao.objects.filter(dispositivo=below).latest("id")
        assert (last.antes["medidor_pai_id"], last.depois["medidor_pai_id"]) == (None, main.pk)
        assert (last.antes["papel"], last.depois["papel"]) == ("CONSUMO", "INJECAO")

    @pytest.mark.parametrize("column", ["papel", "carimbo", "tipo_leitura"])
    def test_the_table_refuses_what_is_no_choice(self, make: Make, column: str) -> None:
        device = make("D")
        with pytest.raises(DatabaseError):
            sql(f"UPDATE tds_new_dispositivo SET {column} = 'OUTRO' WHERE id = %s", device.pk)
