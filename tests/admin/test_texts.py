"""The admin's Portuguese: texts of Django about our objects, of either gender.

Also the text of an empty list.
"""

import re
from pathlib import Path
from typing import Any

import django
import pytest
from django.test import Client
from django.urls import reverse

from tds_new.catalog import read
from tds_new.models import ManutencaoExecucao
from tests.support.meters import JUMP, SPIKE, decide, device_form, meter, row, said, superuser, url
from tests.support.paths import ROOT

CATALOGUE = ROOT / "tds_new" / "locale" / "pt_BR" / "LC_MESSAGES" / "django.po"
PLACES = re.compile(r"%\(\w+\)[sd]|\{\w+\}")

pytestmark = pytest.mark.django_db


@pytest.fixture
def root() -> Client:
    return superuser()


def text(client: Client, address: str, **query: Any) -> str:
    return str(client.get(address, query).content.decode())


def test_what_is_put_right_is_what_django_says() -> None:
    theirs = (Path(django.__file__).parent / "contrib/admin/locale/pt_BR/LC_MESSAGES/django.po").read_text(
        encoding="utf-8"
    )
    known = theirs.replace('"\n"', "")
    for entry in read(CATALOGUE)[1:]:
        assert entry.complete
        msgid = entry.texts["msgid"]
        assert f'"{msgid}"' in known
        assert set(PLACES.findall(entry.texts["msgstr"])) <= set(PLACES.findall(msgid))


def test_a_message_names_what_was_saved_whatever_its_gender(root: Client) -> None:
    device = meter(JUMP)
    form = {
        "ocorrida_em_0": "02/03/2026",
        "ocorrida_em_1": "09:45:00",
        "leitura_final": "1020",
        "leitura_inicial": "50000",
        "motivo": "x",
    }
    added = root.post(f"{url('trocamedidor', 'add')}?dispositivo={device.pk}", form, follow=True)
    assert "Registro adicionado: troca de medidor “<a" in said(added)
    changed = root.post(
        url("dispositivo", "change", device.pk), device_form(device, nome="Bloco B"), follow=True
    )
    assert "Registro alterado: dispositivo “<a" in said(changed)
    english = root.post(
        url("dispositivo", "change", device.pk), device_form(device), follow=True, HTTP_ACCEPT_LANGUAGE="en"
    )
    assert "was changed successfully" in said(english)


def test_actions_counts_and_filters_are_said_as_people_say_them(root: Client) -> None:
    meter(JUMP)
    assert "Excluir os itens selecionados" in text(root, url("conta", "changelist"))
    trail = text(root, url("auditoriamedicao", "changelist"))
    assert "2 registros de auditoria" in trail
    assert "1 registro de auditoria" in text(
        root, url("auditoriamedicao", "changelist"), acao__exact="UPDATE"
    )
    dates = {
        "auditoriamedicao": "data",
        "leituraemrevisao": "data da leitura",
        "trocamedidor": "data da troca",
    }
    dates |= {"vigenciaparametros": "data de início", "mensagemrejeitada": "data de recebimento"}
    for model, title in dates.items():
        titles = [str(spec.title) for spec in root.get(url(model, "changelist")).context["cl"].filter_specs]
        assert title in titles
        assert not {"em", "leitura de", "ocorrida em", "desde", "recebida em"} & set(titles)


def test_failed_logins_are_in_portuguese(root: Client) -> None:
    page = text(root, reverse("admin:index"))
    assert "Tentativas de entrada" in page
    assert "Access" not in page


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("manutencaoexecucao", "Nenhuma rotina rodou ainda"),
        ("mensagemrejeitada", "Nenhuma mensagem rejeitada"),
        ("consumerstatus", "Nenhum consumidor deu notícia ainda"),
        ("leituraemrevisao", "Nenhuma leitura foge do comum"),
        ("auditoriamedicao", "Nada foi incluído"),
        ("trocamedidor", "Nada foi registrado ainda"),
        ("conta", "Ainda não há contas."),
        ("tentativaentrada", "Nenhuma entrada errada conta agora."),
    ],
)
def test_an_empty_list_says_why(root: Client, model: str, words: str) -> None:
    assert words in text(root, url(model, "changelist"))


def test_a_list_that_filters_leave_empty_says_so_and_one_with_rows_says_nothing(root: Client) -> None:
    device = meter(SPIKE)
    page = text(root, url("leituraemrevisao", "changelist"), situacao="ESPERA")
    assert 'Nada com estes filtros. <a href="?">Limpar filtros</a>' in page
    assert 'Nada com estes filtros. <a href="?">Limpar filtros</a>' in text(
        root, url("leituraemrevisao", "changelist"), q="xyz"
    )
    decide(root, "discard", [row(device, 3)])
    assert 'class="empty"' not in text(root, url("leituraemrevisao", "changelist"))
    ManutencaoExecucao.objects.create(nome="retencao", ultima_execucao=row(device, 3).leitura_em)
    assert "1 rotina de manutenção" in text(root, url("manutencaoexecucao", "changelist"))
