"""No request is a failure of ours, whatever it holds: every address, for everybody.

``HOSTILE_REQUESTS=20000 HOSTILE_SEED=7`` tries more, and others.
"""

import logging
import os
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils.timezone import now

from tds_new.models import (
    ConsumerStatus,
    Dispositivo,
    ManutencaoExecucao,
    MensagemRejeitada,
    RejeicaoContador,
    RevisaoLeitura,
    TentativaEntrada,
    TrocaMedidor,
    VigenciaParametros,
)
from tests.support import factories
from tests.support.hostile import Address, Attack, random_request, survey, systematic
from tests.support.meters import JUMP, START, STEP, meter, person, superuser

pytestmark = pytest.mark.django_db(transaction=True)
REQUESTS, SEED = int(os.environ.get("HOSTILE_REQUESTS", "220")), int(os.environ.get("HOSTILE_SEED", "1"))
FEW_RIGHTS = ("view_gateway", "view_leituraemrevisao", "change_leituraemrevisao", "view_mensagemrejeitada")


def one_of_each() -> Dispositivo:
    """Make a row of every model that the admin shows, and return a device."""
    device = meter(JUMP)
    gateway = device.gateway
    MensagemRejeitada.objects.create(
        topico="a/b", gateway=gateway, conta=device.conta, payload=b"{", motivo="conflito"
    )
    RejeicaoContador.objects.create(
        gateway=gateway, motivo="conflito", total=3, primeira_em=now(), ultima_em=now()
    )
    ConsumerStatus.objects.create(client_id="c1", updated_at=now(), counters={"messages": 3})
    ManutencaoExecucao.objects.create(nome="refresh", ultima_execucao=now())
    entry: dict[str, Any] = {"dispositivo": device, "motivo": "conferido"}
    TrocaMedidor.objects.create(
        ocorrida_em=START, leitura_final=Decimal(1), leitura_inicial=Decimal(1), **entry
    )
    VigenciaParametros.objects.create(desde=START, fator_conversao=Decimal(40), tolerancia_queda=0, **entry)
    RevisaoLeitura.objects.create(leitura_em=START + 6 * STEP, decisao="DESCARTADA", **entry)
    Group.objects.create(name="Plantão")
    TentativaEntrada.objects.create(
        chave=UUID(int=1), tipo="REDE", falhas=3, ultima_em=now(), expira_em=now() + timedelta(hours=1)
    )
    return device


@pytest.fixture
def quiet() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def clients() -> dict[str, Client]:
    device = one_of_each()
    member = Client()
    member.force_login(factories.person("membro@example.com", device.conta))
    return {"superuser": superuser(), "staff": person(*FEW_RIGHTS), "member": member, "anonymous": Client()}


@pytest.fixture
def known(clients: dict[str, Client]) -> list[Address]:
    device = Dispositivo.objects.get()
    return survey(clients, device.conta_id, device.pk)


def check_survey(known: list[Address]) -> None:
    """Assert that what is known to be read was found."""
    read: dict[str, set[str]] = defaultdict(set)
    sent: dict[str, set[str]] = defaultdict(set)
    for address in known:
        read[address.name] |= address.parameters
        sent[address.name] |= {name for form in address.forms for name in (*form.values, *form.choices)}
    assert {"periodo", "de", "ate", "disp", "tem", "seq"} - read["dashboard"] - read[
        "dashboard-data"
    ] == set()
    assert "mes" in read["consumption-csv"]
    assert {"q", "pagina"} <= read["device-list"]
    assert {"de", "term"} <= read["tds_new_dispositivo_main_meters"]
    assert {"conta", "codigo"} <= read["tds_new_gateway_add"] & sent["tds_new_gateway_add"]
    assert {"next", "tema"} <= sent["theme"]
    assert {"next", "language"} <= sent["set_language"]
    assert {"username", "password"} <= sent["login"]
    assert {"motivo", "valor_corrigido"} <= sent["tds_new_leituraemrevisao_decide"]


@pytest.mark.usefixtures("quiet")
def test_no_request_is_a_failure_of_ours(clients: dict[str, Client], known: list[Address]) -> None:
    check_survey(known)
    rng = Random(SEED)
    with Attack() as attack:
        for request in systematic(known):
            tenant = request.path.startswith("/c/")
            attack.send(clients["member" if tenant else "superuser"], request)
        for who, client in clients.items():
            own = [a for a in known if a.route.startswith("c/")] if who == "member" else known
            for _ in range(REQUESTS):
                attack.send(client, random_request(own, rng))
    for who in ("superuser", "staff"):
        assert clients[who].get("/admin/").status_code == 200
    print(dict(attack.statuses))
    assert dict(attack.failures) == {}
