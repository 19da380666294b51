"""The operator's admin: what staff see and do, refusals in words, and its number of queries."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from tds_new.admin.payload import readable
from tds_new.models import (
    ConsumerStatus,
    Conta,
    ContaMembership,
    Dispositivo,
    Gateway,
    LeituraDispositivo,
    MensagemRejeitada,
    Motivo,
    RejeicaoContador,
    User,
)

pytestmark = pytest.mark.django_db
PASSWORD = "uma senha bem comprida 42"
MODELS = (
    "conta",
    "user",
    "gateway",
    "dispositivo",
    "mensagemrejeitada",
    "rejeicaocontador",
    "consumerstatus",
)
WRITABLE = ("conta", "user", "gateway", "dispositivo")


@pytest.fixture
def gateway() -> Gateway:
    conta = Conta.objects.create(name="Condomínio Aurora")
    return Gateway.objects.create(conta=conta, codigo="GW-1", mac="AA-BB-CC-00-00-01")


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root@example.com", PASSWORD))
    return client


def staff(*permissions: str) -> Client:
    user = User.objects.create_user("staff@example.com", PASSWORD, is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="tds_new", codename__in=permissions)
    )
    client = Client()
    client.force_login(user)
    return client


def url(model: str, page: str, *args: Any) -> str:
    return reverse(f"admin:tds_new_{model}_{page}", args=args)


def device(gateway: Gateway, codigo: str = "D01") -> Dispositivo:
    return Dispositivo.objects.create(gateway=gateway, codigo=codigo)


def reading(dispositivo: Dispositivo) -> LeituraDispositivo:
    return LeituraDispositivo.objects.create(
        dispositivo=dispositivo,
        time=datetime(2026, 2, 18, 14, 30, tzinfo=UTC),
        gateway=dispositivo.gateway,
        conta=dispositivo.conta,
        valor=Decimal("123.45"),
        unidade="kWh",
        tipo_leitura="ACUMULADA",
    )


def rejected(
    gateway: Gateway | None = None, motivo: str = Motivo.JSON_INVALIDO, payload: bytes = b"{", **fields: Any
) -> MensagemRejeitada:
    fields.setdefault("topico", "tds_new/devices/aabbcc000001/telemetry")
    conta = gateway.conta if gateway else None
    return MensagemRejeitada.objects.create(
        gateway=gateway, conta=conta, motivo=motivo, payload=payload, **fields
    )


def messages_of(response: Any) -> str:
    return " ".join(str(message) for message in response.context["messages"])


def one_of_each(n: int) -> None:
    """A Conta with a person, a gateway, a device, something refused and a consumer."""
    conta = Conta.objects.create(name=f"Conta {n}")
    ContaMembership.objects.create(conta=conta, user=User.objects.create_user(f"pessoa{n}@example.com"))
    gateway = Gateway.objects.create(conta=conta, codigo=f"GW-{n}", mac=f"aa:bb:cc:00:01:{n:02x}")
    device(gateway)
    rejected(gateway)
    RejeicaoContador.objects.create(
        gateway=gateway, motivo=Motivo.CONFLITO, total=n, primeira_em=now(), ultima_em=now()
    )
    ConsumerStatus.objects.create(client_id=f"consumer-{n}", updated_at=now(), counters={"messages": n})


@pytest.mark.parametrize("model", MODELS)
def test_lists_and_pages_open_with_as_many_queries_for_twelve_rows_as_for_one(
    root: Client, model: str, django_assert_max_num_queries: Any
) -> None:
    one_of_each(1)
    root.get(url(model, "changelist"))  # content types and permissions are cached
    with django_assert_max_num_queries(30) as first:
        assert root.get(url(model, "changelist"), {"q": ""}).status_code == 200
    for n in range(2, 13):
        one_of_each(n)
    with django_assert_max_num_queries(len(first)):
        assert root.get(url(model, "changelist"), {"q": ""}).status_code == 200
    some = root.get(url(model, "changelist")).context["cl"].queryset.first()
    assert root.get(url(model, "change", some.pk)).status_code == 200
    assert root.get(url(model, "add")).status_code == (200 if model in WRITABLE else 403)


def test_people_without_staff_rights_are_sent_to_the_login(client: Client) -> None:
    client.force_login(User.objects.create_user("ana@example.com", PASSWORD))
    response = client.get(url("gateway", "changelist"))
    assert response.status_code == 302
    assert response["Location"].startswith(reverse("admin:login"))


def test_staff_see_only_what_they_have_permission_for() -> None:
    client = staff("view_gateway")
    assert client.get(url("gateway", "changelist")).status_code == 200
    assert client.get(url("conta", "changelist")).status_code == 403
    assert client.get(url("gateway", "add")).status_code == 403


def test_a_person_is_added_with_an_address_and_logs_in_with_it_in_any_case(root: Client) -> None:
    form = {
        "email": "Ana.Souza@Example.com",
        "name": "Ana",
        "usable_password": "true",
        "password1": PASSWORD,
        "password2": PASSWORD,
    }
    assert root.post(url("user", "add"), form).status_code == 302
    ana = User.objects.get(email="ana.souza@example.com")
    assert ana.check_password(PASSWORD)
    again = root.post(url("user", "add"), {**form, "email": "ANA.SOUZA@example.com"})
    assert again.status_code == 200
    assert "email" in again.context["adminform"].errors
    User.objects.filter(pk=ana.pk).update(is_staff=True)
    answer = Client().post(
        reverse("admin:login"), {"username": "ANA.souza@example.com", "password": PASSWORD, "next": "/admin/"}
    )
    assert answer.status_code == 302


def test_staff_cannot_give_themselves_power_nor_touch_who_has_it() -> None:
    client = staff("view_user", "change_user", "delete_user")
    me = User.objects.get(email="staff@example.com")
    boss = User.objects.create_superuser("boss@example.com", PASSWORD)
    ana = User.objects.create_user("ana@example.com", PASSWORD)
    client.post(url("user", "change", me.pk), {"email": me.email, "is_superuser": "on"})
    response = client.post(
        url("user", "change", ana.pk),
        {"email": ana.email, "is_active": "on", "is_superuser": "on", "is_staff": "on"},
    )
    assert response.status_code in (200, 302)
    assert not User.objects.exclude(pk=boss.pk).filter(is_superuser=True).exists()
    assert not User.objects.get(pk=ana.pk).is_staff
    password_page = reverse("admin:auth_user_password_change", args=[boss.pk])
    assert client.post(password_page, {"password1": "x" * 20, "password2": "x" * 20}).status_code == 403
    assert client.post(url("user", "delete", boss.pk), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("model", ["conta", "gateway", "dispositivo"])
def test_what_has_readings_is_not_deleted_and_the_page_says_what_to_do(
    root: Client, gateway: Gateway, model: str
) -> None:
    dispositivo = device(gateway)
    reading(dispositivo)
    pk = {"conta": gateway.conta_id, "gateway": gateway.pk, "dispositivo": dispositivo.pk}[model]
    responses = [
        root.get(url(model, "delete", pk), follow=True),
        root.post(url(model, "delete", pk), {"post": "yes"}, follow=True),
        root.post(
            url(model, "changelist"),
            {"action": "delete_selected", "_selected_action": [pk], "post": "yes"},
            follow=True,
        ),
    ]
    for response in responses:
        assert response.status_code == 200
        assert "Desative em vez de excluir" in messages_of(response)
    assert Dispositivo.objects.filter(pk=dispositivo.pk).exists()


@pytest.mark.parametrize("model", ["conta", "gateway", "dispositivo"])
def test_a_first_reading_that_comes_during_the_deletion_is_refused_in_words_too(
    root: Client, gateway: Gateway, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispositivo = device(gateway)
    reading(dispositivo)
    for cls in (Conta, Gateway, Dispositivo):
        monkeypatch.setattr(cls, "has_readings", lambda _: False)
    pk = {"conta": gateway.conta_id, "gateway": gateway.pk, "dispositivo": dispositivo.pk}[model]
    one = root.post(url(model, "delete", pk), {"post": "yes"}, follow=True)
    many = root.post(
        url(model, "changelist"),
        {"action": "delete_selected", "_selected_action": [pk], "post": "yes"},
        follow=True,
    )
    assert "Desative em vez de excluir" in messages_of(one)
    assert "Desative em vez de excluir" in messages_of(many)
    assert Dispositivo.objects.filter(pk=dispositivo.pk).exists()


def test_a_gateway_without_readings_is_deleted_with_its_devices(root: Client, gateway: Gateway) -> None:
    device(gateway)
    rejected(gateway)
    page = root.get(url("gateway", "delete", gateway.pk))
    assert page.status_code == 200
    assert root.post(url("gateway", "delete", gateway.pk), {"post": "yes"}).status_code == 302
    assert not Gateway.objects.exists()
    assert MensagemRejeitada.objects.get().gateway is None


@pytest.mark.parametrize("model", ["mensagemrejeitada", "rejeicaocontador", "consumerstatus"])
def test_what_the_platform_writes_cannot_be_changed_by_hand(root: Client, model: str) -> None:
    one_of_each(1)
    some = root.get(url(model, "changelist")).context["cl"].queryset.first()
    assert root.post(url(model, "change", some.pk), {}).status_code == 403
    assert root.post(url(model, "delete", some.pk), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize(
    "query",
    ["gateway=abc", "gateway=99999999999999999999", "conta=-1", "situacao=x", "motivo__exact=nada", "p=999"],
)
def test_an_address_somebody_tampered_with_is_no_error(root: Client, gateway: Gateway, query: str) -> None:
    rejected(gateway)
    assert root.get(f"{url('mensagemrejeitada', 'changelist')}?{query}").status_code in (200, 302)


def test_a_gateways_page_says_where_it_publishes(root: Client, gateway: Gateway) -> None:
    url = reverse("admin:tds_new_gateway_change", args=[gateway.pk])
    user = gateway.mac.replace(":", "")
    assert f"tds_new/devices/{user}/telemetry" in root.get(url).content.decode()
    Gateway.objects.filter(pk=gateway.pk).update(device_id="abc123")
    page = root.get(url).content.decode()
    assert "tds_new/devices/abc123/telemetry" in page
    assert user in page


def test_filters_find_a_gateways_messages_and_what_still_waits(root: Client, gateway: Gateway) -> None:
    mine = rejected(gateway)
    rejected()
    rejected(gateway, reprocessada_em=now())
    answer = root.get(url("mensagemrejeitada", "changelist"), {"gateway": gateway.pk, "situacao": "pendente"})
    assert list(answer.context["cl"].queryset) == [mine]


def test_markup_and_trickery_in_a_payload_are_shown_not_executed(root: Client) -> None:
    message = rejected(payload='<script>alert(1)</script>\u202e"x"\x07'.encode())
    page = root.get(url("mensagemrejeitada", "change", message.pk)).content.decode()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u202e" in page
    assert readable(b"\xff\xfe\x00A") == "000000  ff fe 00 41                                      ...A"


def test_a_consumer_that_fell_silent_is_warned_about_and_a_stopped_one_is_not(root: Client) -> None:
    long_ago = now() - timedelta(minutes=10)
    ConsumerStatus.objects.create(client_id="silent", estado="connected", updated_at=long_ago)
    ConsumerStatus.objects.create(client_id="alive", estado="connected", updated_at=now())
    ConsumerStatus.objects.create(client_id="stopped", estado="stopped", updated_at=long_ago)
    answer = root.get(url("consumerstatus", "changelist"))
    assert "silent" in messages_of(answer)
    assert "alive" not in messages_of(answer)
    assert "stopped" not in messages_of(answer)


@pytest.mark.parametrize(
    ("language", "words"),
    [("pt-br", "O broker descartou 12 mensagens desde"), ("en", "The broker has dropped 12 messages since")],
)
def test_messages_that_the_broker_dropped_are_warned_about_in_the_list_and_on_the_page(
    root: Client, language: str, words: str
) -> None:
    lossy = ConsumerStatus.objects.create(
        client_id="lossy", estado="stopped", since=now(), counters={"broker_dropped": 12, "messages": 5}
    )
    sound = ConsumerStatus.objects.create(
        client_id="sound", estado="stopped", since=now(), counters={"messages": 5}
    )
    asked = {"HTTP_ACCEPT_LANGUAGE": language}
    listed = root.get(url("consumerstatus", "changelist"), **asked)
    assert words in messages_of(listed)
    assert "max_queued_messages" in messages_of(listed)
    assert "lossy" in messages_of(listed)
    assert "sound" not in messages_of(listed)
    assert '<td class="field-dropped">12</td>' in listed.content.decode()
    assert words in messages_of(root.get(url("consumerstatus", "change", lossy.pk), **asked))
    assert messages_of(root.get(url("consumerstatus", "change", sound.pk), **asked)) == ""
