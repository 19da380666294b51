"""Re-processing from the admin: refused messages are stored once their cause is fixed."""

import json
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from tds_new.admin import operations
from tds_new.ingestion.reprocess import ReprocessResult
from tds_new.models import Conta, Dispositivo, Gateway, LeituraDispositivo, MensagemRejeitada, User

LIST = "admin:tds_new_mensagemrejeitada_changelist"


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root@example.com"))
    return client


def telemetry(mac: str, minute: int = 0) -> dict[str, Any]:
    stamp = now().replace(minute=minute, second=0, microsecond=0).isoformat()
    payload = json.dumps(
        {"timestamp": stamp, "leituras": [{"dispositivo_codigo": "D01", "valor": 1.5, "unidade": "kWh"}]}
    )
    return {
        "topico": f"tds_new/devices/{mac}/telemetry",
        "payload": payload.encode(),
        "motivo": "gateway_desconhecido",
    }


def run(client: Client, action: str, *chosen: MensagemRejeitada) -> str:
    form = {"action": action, "_selected_action": [message.pk for message in chosen]}
    answer = client.post(reverse(LIST), form, follow=True)
    assert answer.status_code == 200
    return " ".join(str(message) for message in answer.context["messages"])


@pytest.mark.django_db(transaction=True)
def test_messages_of_a_gateway_registered_later_are_stored_and_the_rest_is_refused_again(
    root: Client,
) -> None:
    first = MensagemRejeitada.objects.create(**telemetry("aabbcc000001", 0))
    MensagemRejeitada.objects.create(**telemetry("aabbcc000001", 1))
    other = MensagemRejeitada.objects.create(**telemetry("aabbcc000002", 2))
    gateway = Gateway.objects.create(
        conta=Conta.objects.create(name="Aurora"), codigo="GW-1", mac="aa:bb:cc:00:00:01"
    )
    Dispositivo.objects.create(gateway=gateway, codigo="D01")
    assert run(root, "reprocess_chosen", first, other) == "1 aceita, 1 recusada de novo."
    assert LeituraDispositivo.objects.count() == 1
    assert run(root, "reprocess_alike", first) == "1 aceita, 0 recusadas de novo."
    assert LeituraDispositivo.objects.filter(gateway=gateway).count() == 2
    assert MensagemRejeitada.objects.filter(reprocessada_em__isnull=True).get() == other
    with connection.cursor() as cursor:  # readings keep their device from the flush after the test
        cursor.execute("TRUNCATE tds_new_leitura_dispositivo")


@pytest.mark.django_db
def test_alike_means_the_same_motivo_and_gateway_or_topic_and_not_yet_accepted(
    root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[int] = set()

    def fake(rejected: Any) -> ReprocessResult:
        asked.update(rejected.values_list("pk", flat=True))
        return ReprocessResult(312, 4)

    monkeypatch.setattr(operations, "reprocess", fake)
    gateway = Gateway.objects.create(
        conta=Conta.objects.create(name="Aurora"), codigo="GW-1", mac="aa:bb:cc:00:00:01"
    )
    create = MensagemRejeitada.objects.create
    chosen = create(topico="a", payload=b"", motivo="conflito", gateway=gateway)
    alike = create(topico="b", payload=b"", motivo="conflito", gateway=gateway)
    create(topico="a", payload=b"", motivo="json_invalido", gateway=gateway)
    create(topico="a", payload=b"", motivo="conflito")
    unknown = create(topico="c", payload=b"", motivo="gateway_desconhecido")
    unknown_alike = create(topico="c", payload=b"", motivo="gateway_desconhecido")
    create(topico="d", payload=b"", motivo="gateway_desconhecido")
    assert run(root, "reprocess_alike", chosen, unknown) == "312 aceitas, 4 recusadas de novo."
    assert asked == {chosen.pk, alike.pk, unknown.pk, unknown_alike.pk}


@pytest.mark.django_db
def test_a_database_that_fails_meanwhile_is_said_in_words(
    root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(rejected: Any) -> ReprocessResult:
        raise psycopg.OperationalError("server closed the connection")

    monkeypatch.setattr(operations, "reprocess", fail)
    message = MensagemRejeitada.objects.create(topico="a", payload=b"", motivo="conflito")
    assert "server closed the connection" in run(root, "reprocess_chosen", message)


@pytest.mark.django_db
def test_who_may_only_look_cannot_reprocess(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "reprocess", lambda _: pytest.fail("re-processed without permission"))
    user = User.objects.create_user("staff@example.com", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_mensagemrejeitada"))
    client.force_login(user)
    message = MensagemRejeitada.objects.create(topico="a", payload=b"", motivo="conflito")
    client.post(reverse(LIST), {"action": "reprocess_chosen", "_selected_action": [message.pk]})
    assert MensagemRejeitada.objects.get().reprocessada_em is None
