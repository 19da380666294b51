"""The models' rules, also where somebody writes to the tables without them."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, connections, transaction
from django.db.models import ProtectedError

from tds_new.models import Conta, ContaMembership, Dispositivo, Gateway, LeituraDispositivo, User

MAC = "aa:bb:cc:dd:ee:01"


@pytest.fixture
def conta(db: None) -> Conta:
    return Conta.objects.create(name="Condomínio Aurora")


@pytest.fixture
def gateway(conta: Conta) -> Gateway:
    return Gateway.objects.create(conta=conta, codigo="GW-1", mac=MAC)


def reading(dispositivo: Dispositivo, minute: int = 0) -> LeituraDispositivo:
    return LeituraDispositivo.objects.create(
        dispositivo=dispositivo,
        time=datetime(2026, 2, 18, 14, minute, tzinfo=UTC),
        gateway=dispositivo.gateway,
        conta=dispositivo.conta,
        valor=Decimal("123.45"),
        unidade="kWh",
        tipo_leitura="ACUMULADA",
    )


def sql(statement: str, *parameters: object) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, parameters)


class TestMac:
    @pytest.mark.parametrize(
        "spelling", ["AA:BB:CC:DD:EE:FF", "aa-bb-cc-dd-ee-ff", "AABBCCDDEEFF", "Aa:bB:cc:DD:ee:fF"]
    )
    def test_every_spelling_is_kept_in_one_form(self, conta: Conta, spelling: str) -> None:
        assert Gateway.objects.create(conta=conta, codigo="G", mac=spelling).mac == "aa:bb:cc:dd:ee:ff"

    @pytest.mark.parametrize(
        "nonsense",
        ["", "aa:bb:cc:dd:ee", "aa:bb:cc:dd:ee:gg", "aa:bb-cc:dd:ee:ff", "ａa:bb:cc:dd:ee:ff", " " + MAC],
    )
    def test_what_is_no_mac_is_refused(self, conta: Conta, nonsense: str) -> None:
        with pytest.raises(ValidationError):
            Gateway.objects.create(conta=conta, codigo="G", mac=nonsense)

    def test_a_mac_is_unique_in_the_whole_system(self, gateway: Gateway) -> None:
        other = Conta.objects.create(name="Outra")
        with pytest.raises(IntegrityError), transaction.atomic():
            Gateway.objects.create(conta=other, codigo="G", mac=MAC.upper().replace(":", "-"))
        with pytest.raises(ValidationError, match="MAC"):
            Gateway(conta=other, codigo="G", mac=MAC.upper().replace(":", "")).full_clean()

    @pytest.mark.parametrize("spelling", ["AA:BB:CC:DD:EE:FF", "aabbccddeeff", "aa-bb-cc-dd-ee-ff"])
    def test_the_table_refuses_another_form_from_whoever_writes_it(self, conta: Conta, spelling: str) -> None:
        with pytest.raises(IntegrityError):
            sql(
                "INSERT INTO tds_new_gateway (conta_id, codigo, mac) VALUES (%s, 'G', %s)", conta.pk, spelling
            )

    def test_a_topic_name_that_could_be_taken_for_a_mac_is_refused(self, conta: Conta) -> None:
        with pytest.raises(ValidationError, match="Parece um MAC"):
            Gateway(conta=conta, codigo="G", mac=MAC, device_id="AABBCCDDEEFF").full_clean()

    def test_gateways_without_a_topic_name_do_not_collide(self, conta: Conta) -> None:
        for n in range(2):
            Gateway.objects.create(conta=conta, codigo=f"G{n}", mac=f"aa:bb:cc:dd:ee:0{n}", device_id="")
        assert Gateway.objects.filter(device_id=None).count() == 2


class TestCapacity:
    def test_one_device_too_many_is_refused(self, gateway: Gateway) -> None:
        for n in range(8):
            Dispositivo.objects.create(gateway=gateway, codigo=f"D{n}")
        with pytest.raises(ValidationError, match="capacidade"):
            Dispositivo.objects.create(gateway=gateway, codigo="D9")
        assert gateway.dispositivos.count() == 8

    @pytest.mark.django_db(transaction=True)
    def test_two_people_do_not_both_get_the_last_place(self) -> None:
        conta = Conta.objects.create(name="Aurora")
        gateway = Gateway.objects.create(conta=conta, codigo="G", mac=MAC, qte_max_dispositivos=1)
        start = threading.Barrier(4)
        refused: list[ValidationError] = []

        def add(codigo: str) -> None:
            start.wait()
            try:
                Dispositivo.objects.create(gateway=gateway, codigo=codigo)
            except ValidationError as error:
                refused.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=add, args=(f"D{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(refused) == 3
        assert gateway.dispositivos.count() == 1

    def test_a_code_is_unique_within_its_gateway_only(self, gateway: Gateway, conta: Conta) -> None:
        other = Gateway.objects.create(conta=conta, codigo="GW-2", mac="aa:bb:cc:dd:ee:02")
        Dispositivo.objects.create(gateway=gateway, codigo="D01")
        Dispositivo.objects.create(gateway=other, codigo="D01")
        with pytest.raises(IntegrityError), transaction.atomic():
            Dispositivo.objects.create(gateway=gateway, codigo="D01")


class TestOwnership:
    def test_a_device_is_of_its_gateways_conta_and_follows_it(self, gateway: Gateway) -> None:
        device = Dispositivo.objects.create(
            gateway=gateway, codigo="D01", conta=Conta.objects.create(name="Errada")
        )
        assert device.conta == gateway.conta
        gateway.conta = Conta.objects.create(name="Nova")
        gateway.save()
        device.refresh_from_db()
        assert device.conta == gateway.conta

    def test_unit_and_gateway_of_a_device_with_readings_stay(self, gateway: Gateway) -> None:
        device = Dispositivo.objects.create(gateway=gateway, codigo="D01")
        reading(device)
        device.unidade = "Wh"
        with pytest.raises(ValidationError, match="já tem leituras"):
            device.full_clean()

    def test_who_sees_a_conta(self, conta: Conta) -> None:
        member, former, stranger = (
            User.objects.create_user(f"{n}@example.com") for n in ("member", "former", "stranger")
        )
        ContaMembership.objects.create(conta=conta, user=member)
        ContaMembership.objects.create(conta=conta, user=former, is_active=False)
        assert [list(Conta.objects.visible_to(user)) for user in (member, former, stranger)] == [
            [conta],
            [],
            [],
        ]
        Conta.objects.update(is_active=False)
        assert list(Conta.objects.visible_to(member)) == []


DELETIONS: dict[str, Callable[[Dispositivo], object]] = {
    "device": lambda d: d.delete(),
    "gateway": lambda d: d.gateway.delete(),
    "conta": lambda d: d.conta.delete(),
    "devices": lambda d: Dispositivo.objects.filter(pk=d.pk).delete(),
    "gateways": lambda d: Gateway.objects.filter(pk=d.gateway_id).delete(),
    "contas": lambda d: Conta.objects.filter(pk=d.conta_id).delete(),
    "sql": lambda d: sql("DELETE FROM tds_new_dispositivo WHERE id = %s", d.pk),
    "sql conta": lambda d: sql("DELETE FROM tds_new_conta WHERE id = %s", d.conta_id),
}


class TestDeletion:
    @pytest.fixture
    def device(self, gateway: Gateway) -> Iterator[Dispositivo]:
        return Dispositivo.objects.create(gateway=gateway, codigo="D01")

    @pytest.mark.parametrize("way", DELETIONS)
    def test_what_has_readings_stays_whichever_way_it_is_deleted(self, device: Dispositivo, way: str) -> None:
        reading(device)
        with (
            pytest.raises((ProtectedError, IntegrityError), match="has readings and cannot be deleted"),
            transaction.atomic(),
        ):
            DELETIONS[way](device)
        assert LeituraDispositivo.objects.get().dispositivo == device

    @pytest.mark.parametrize("way", sorted(DELETIONS.keys() - {"sql conta"}))
    def test_what_has_none_goes(self, device: Dispositivo, way: str) -> None:
        DELETIONS[way](device)
        assert not Dispositivo.objects.exists()

    def test_a_conta_keeps_the_history_of_devices_that_moved_on(self, device: Dispositivo) -> None:
        before = device.conta
        reading(device)
        device.gateway.conta = Conta.objects.create(name="Nova")
        device.gateway.save()
        with pytest.raises(ProtectedError):
            before.delete()
        with pytest.raises(IntegrityError, match="has readings"):
            sql("DELETE FROM tds_new_conta WHERE id = %s", before.pk)

    def test_a_conta_whose_readings_are_of_an_earlier_owner_stays_with_its_gateway(
        self, device: Dispositivo
    ) -> None:
        reading(device)
        new = Conta.objects.create(name="Nova")
        device.gateway.conta = new
        device.gateway.save()
        with pytest.raises((ProtectedError, IntegrityError)), transaction.atomic():
            new.delete()
        assert Dispositivo.objects.get().conta == new


class TestReadings:
    def test_a_reading_is_unique_by_device_and_time(self, gateway: Gateway) -> None:
        device = Dispositivo.objects.create(gateway=gateway, codigo="D01")
        reading(device)
        with pytest.raises(IntegrityError), transaction.atomic():
            reading(device)
        reading(device, minute=1)

    def test_a_reading_is_a_finite_number(self, gateway: Gateway) -> None:
        device = Dispositivo.objects.create(gateway=gateway, codigo="D01")
        reading(device)
        with pytest.raises(IntegrityError, match="tds_new_leitura_valor_finito"):
            sql("UPDATE tds_new_leitura_dispositivo SET valor = 'NaN' WHERE dispositivo_id = %s", device.pk)


class TestCnpj:
    @pytest.mark.parametrize(
        "cnpj", ["11.222.333/0001-81", "11222333000181", "12.ABC.345/01DE-35", "12abc34501de35", ""]
    )
    def test_right_ones_are_taken_also_with_letters(self, cnpj: str) -> None:
        Conta(name="x", cnpj=cnpj).full_clean(validate_constraints=False)

    @pytest.mark.parametrize(
        "cnpj",
        ["11.222.333/0001-82", "12.ABC.345/01DE-53", "12.ABC.345/01DE-3A", "1122233300018", "1" * 15, "abc"],
    )
    def test_wrong_ones_are_refused(self, cnpj: str) -> None:
        with pytest.raises(ValidationError) as caught:
            Conta(name="x", cnpj=cnpj).full_clean(validate_constraints=False)
        assert caught.value.error_dict.keys() == {"cnpj"}


class TestTimeZone:
    @pytest.mark.parametrize("zone", ["America/Manaus", "UTC"])
    def test_names_of_zones_are_taken(self, zone: str) -> None:
        Conta(name="x", timezone=zone).full_clean(validate_constraints=False)

    @pytest.mark.parametrize("zone", ["", "zz", "-5", "America", "America/Nowhere", "../etc/passwd", "a\0b"])
    def test_what_is_no_zone_is_refused(self, zone: str) -> None:
        with pytest.raises(ValidationError) as caught:
            Conta(name="x", timezone=zone).full_clean(validate_constraints=False)
        assert caught.value.error_dict.keys() == {"timezone"}


class TestContractColumns:
    def test_the_contracts_columns_are_enough_for_a_script_of_plain_sql(self, db: None) -> None:
        sql("INSERT INTO tds_new_conta (name) VALUES ('SQL')")
        conta = Conta.objects.get()
        sql("INSERT INTO tds_new_gateway (conta_id, codigo, mac) VALUES (%s, 'G', %s)", conta.pk, MAC)
        gateway = Gateway.objects.get()
        columns = "conta_id, gateway_id, codigo, tipo, grandeza, unidade, tipo_leitura"
        values = (conta.pk, gateway.pk, "D01", "MEDIDOR", "AGUA", "m³", "INCREMENTAL")
        sql(f"INSERT INTO tds_new_dispositivo ({columns}) VALUES (%s, %s, %s, %s, %s, %s, %s)", *values)
        device = Dispositivo.objects.get()
        user = User.objects.create_user("ana@example.com")
        sql(
            "INSERT INTO tds_new_conta_membership (conta_id, user_id, role) VALUES (%s, %s, 'editor')",
            conta.pk,
            user.pk,
        )
        columns = "time, conta_id, gateway_id, dispositivo_id, valor, unidade, tipo_leitura"
        values = (
            datetime(2026, 1, 1, tzinfo=UTC),
            conta.pk,
            gateway.pk,
            device.pk,
            "1.5",
            "m³",
            "INCREMENTAL",
        )
        sql(
            f"INSERT INTO tds_new_leitura_dispositivo ({columns}) VALUES (%s, %s, %s, %s, %s, %s, %s)",
            *values,
        )
        sql(
            "INSERT INTO tds_new_mensagem_rejeitada (topico, payload, motivo) VALUES ('t', 'x', "
            "'json_invalido')"
        )
        assert (conta.timezone, conta.is_active, conta.cnpj) == ("America/Sao_Paulo", True, "")
        assert (gateway.qte_max_dispositivos, gateway.is_active, gateway.is_online) == (8, True, False)
        assert (device.status, device.fator_conversao) == ("ATIVO", 1)
        assert list(Conta.objects.visible_to(user)) == [conta]


class TestPeople:
    def test_an_address_is_one_persons_in_any_case(self, db: None) -> None:
        ana = User.objects.create_user(" Ana@Example.com ")
        assert ana.email == "ana@example.com"
        assert User.objects.get_by_natural_key("ANA@EXAMPLE.COM") == ana
        with pytest.raises(IntegrityError), transaction.atomic():
            User.objects.create_user("ANA@example.com")
        with pytest.raises(IntegrityError):
            sql(
                "INSERT INTO tds_new_user (password, email, is_superuser) VALUES ('!', 'ANA@example.com', "
                "false)"
            )

    def test_a_new_person_has_no_power_and_no_password(self, db: None) -> None:
        ana = User.objects.create_user("ana@example.com")
        assert (ana.is_staff, ana.is_superuser, ana.has_usable_password()) == (False, False, False)
