"""What makes no sense is a 400 with words; what is our fault stays a failure."""

import subprocess
import sys
from typing import Any

import psycopg
import pytest
from django.core.exceptions import BadRequest
from django.db import DataError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import ResolverMatch, reverse

from tds_new.models import Conta
from tds_new.operation_site import StrictAdmin
from tds_new.web.malformed import MalformedRequestMiddleware
from tests.support import factories
from tests.support.meters import superuser, url
from tests.support.paths import ROOT

SERVERS = """
import asyncio, io
from prj_tds_new import asgi, wsgi
given = "text/plain; charset=idna; x=1"
environ = {
    "REQUEST_METHOD": "GET", "PATH_INFO": "/telemetria/", "QUERY_STRING": "a=%FF", "CONTENT_TYPE": given,
    "SERVER_NAME": "localhost", "SERVER_PORT": "80", "wsgi.input": io.BytesIO(), "wsgi.url_scheme": "http",
}
wsgi.application(environ, lambda status, headers: print(status))
scope = {
    "type": "http", "method": "GET", "path": "/telemetria/", "query_string": b"a=%FF", "http_version": "1.1",
    "headers": [(b"host", b"localhost"), (b"content-type", given.encode())],
}
async def ask():
    events, sent = asyncio.Queue(), []
    await events.put({"type": "http.request", "body": b""})
    async def send(event):
        sent.append(event)
    await asgi.application(scope, events.get, send)
    print(sent[0]["status"])
asyncio.run(ask())
"""


def data_error(cause: Exception) -> DataError:
    wrapped = DataError(str(cause))
    wrapped.__cause__ = cause
    return wrapped


def judged(method: str, address: str, exception: Exception, **kwargs: Any) -> str:
    """What becomes of an exception of a view: ``refused``, or ``failed`` as ever."""
    request = RequestFactory().generic(method, address)
    request.resolver_match = ResolverMatch(lambda: None, (), kwargs)
    try:
        MalformedRequestMiddleware(lambda _request: HttpResponse()).process_exception(request, exception)
    except BadRequest as refusal:
        return "refused" if refusal.__cause__ is exception else "refused for another reason"
    return "failed"


PATTERN = data_error(psycopg.errors.InvalidRegularExpression("quantifier operand invalid"))


@pytest.mark.parametrize(
    ("method", "address", "exception", "kwargs", "expected"),
    [
        ("GET", "/?a=(", PATTERN, {}, "refused"),
        ("HEAD", "/?a=(", PATTERN, {}, "refused"),
        ("GET", "/", PATTERN, {"object_id": "("}, "refused"),
        ("GET", "/?a=9", data_error(psycopg.errors.NumericValueOutOfRange("out of range")), {}, "refused"),
        ("GET", "/?a=%00", data_error(psycopg.DataError("no NUL")), {}, "refused"),
        ("GET", "/?a=1", data_error(psycopg.DataError("no NUL")), {}, "failed"),
        ("GET", "/", PATTERN, {}, "failed"),
        ("POST", "/?a=(", PATTERN, {}, "failed"),
        ("GET", "/?a=0", data_error(psycopg.errors.DivisionByZero("division by zero")), {}, "failed"),
        ("GET", "/?a=1", OperationalError("the database is away"), {}, "failed"),
        ("GET", "/?a=1", ValueError("something of ours"), {}, "failed"),
    ],
)
def test_only_values_that_the_database_cannot_read_are_the_requests_fault(
    method: str, address: str, exception: Exception, kwargs: dict[str, str], expected: str
) -> None:
    assert judged(method, address, exception, **kwargs) == expected


@pytest.mark.django_db(transaction=True)
def test_a_value_that_gets_as_far_as_the_database_is_refused_in_words_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def allow(_admin: object, lookup: str, value: str, request: HttpRequest) -> bool:
        return True

    monkeypatch.setattr(StrictAdmin, "lookup_allowed", allow)
    response = superuser().get(url("user", "changelist"), {"email__regex": "("})
    assert response.status_code == 400
    assert "Pedido não entendido" in response.text
    assert "invalid regular expression" in caplog.text


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/a%00b/", "/admin/tds_new/user/%00/change/"])
def test_nul_in_a_path_is_refused(path: str) -> None:
    assert superuser().get(path).status_code == 400


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["sessao", "csrf", "django_language", "tema", "messages", "other"])
def test_nul_in_a_cookie_is_refused_though_servers_let_it_pass_in_another_spelling(name: str) -> None:
    response = Client().get("/contas/", headers={"cookie": f'{name}="aaaaaaaa\\000"'})
    assert response.status_code == 400


@pytest.mark.django_db
def test_nul_in_a_form_is_refused_after_its_token_was_checked() -> None:
    form = {"username": "a\0@example.com", "password": "x"}
    assert Client().post(reverse("login"), form).status_code == 400
    assert Client(enforce_csrf_checks=True).post(reverse("login"), form).status_code == 403
    assert Client().post(reverse("login") + "?next=%00", {}).status_code == 400


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("model", "query", "status"),
    [
        ("user", "is_staff__exact=1", 200),
        ("user", "email__regex=(", 400),
        ("user", "email__startswith=a", 400),
        ("user", "pk__regex=(", 400),
        ("user", "password__startswith=argon", 400),
        ("gateway", "device_count__range=1", 400),
        ("gateway", "latitude__in=1,", 400),
        ("mensagemrejeitada", "payload__lt=1", 400),
        ("mensagemrejeitada", "motivo__exact=a%00", 400),
        ("mensagemrejeitada", "q=a%00", 200),
        ("mensagemrejeitada", "motivo__exact=conflito&gateway=1", 200),
        ("mensagemrejeitada", "gateway=" + "9" * 5000, 200),
        ("mensagemrejeitada", "recebida_em__gte=2026-13-45", 302),
        ("auditoriamedicao", "dispositivo__exact=1", 200),
        ("auditoriamedicao", "dispositivo__conta__name=1", 400),
        ("trocamedidor", "dispositivo__grandeza__exact=ENERGIA", 200),
        ("leituraemrevisao", "dispositivo__exact=1&situacao=ESPERA&conta=1", 200),
    ],
)
def test_lists_are_filtered_only_by_what_they_offer(model: str, query: str, status: int) -> None:
    factories.conta()
    assert superuser().get(f"{url(model, 'changelist')}?{query}").status_code == status


@pytest.mark.django_db
@pytest.mark.parametrize("chosen", ["", "x", "9" * 5000, "1.5", "['1']"])
def test_rows_chosen_in_a_list_are_keys(chosen: str) -> None:
    form = {"action": "delete_selected", "_selected_action": ["1", chosen], "post": "yes"}
    assert superuser().post(url("gateway", "changelist"), form).status_code == 400


@pytest.mark.django_db
@pytest.mark.parametrize("page", ["change", "delete"])
def test_an_object_is_found_by_its_key_where_no_field_is_named(page: str) -> None:
    assert superuser().get(url("conta", page, factories.conta().pk), {"_to_field": ""}).status_code == 200


@pytest.mark.django_db
def test_no_copy_is_saved_of_what_is_changed() -> None:
    root, conta = superuser(), factories.conta()
    form = {"name": "Cópia", "timezone": conta.timezone, "_saveasnew": "1"}
    form |= {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    assert root.post(url("conta", "change", conta.pk), form).status_code == 400
    assert Conta.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("value", ["x", "9" * 5000, "{{7*7}}", "1.5"])
def test_a_searched_object_that_is_none_is_an_error_of_its_field(value: str) -> None:
    root = superuser()
    assert root.get(url("gateway", "add"), {"conta": value}).status_code == 200
    response = root.post(url("dispositivo", "add"), {"gateway": value, "medidor_pai": value})
    assert {"gateway", "medidor_pai"} <= set(response.context["adminform"].errors)


@pytest.mark.once
def test_the_servers_take_every_request_for_utf_8() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVERS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.split("\n")[:2] == ["302 Found", "302"], done.stderr
