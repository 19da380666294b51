"""Requests that no browser sends: hostile values in every place of every address.

Addresses come from the resolver, parameters from what the views read and from the fields of models and
forms, so that a new one is tried without anybody remembering it.
"""

import copy
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any
from unittest import mock
from urllib.parse import quote

from django.contrib import admin
from django.contrib.admin.utils import quote as admin_quote
from django.core.signals import got_request_exception
from django.db import transaction
from django.db.models import Model
from django.http import QueryDict
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from tds_new.admin.decisions import BY_NAME
from tests.support.pages import FormReader

Text = str | bytes
Pairs = tuple[tuple[str, Text], ...]

DIGITS = "9" * 5000
KEY_VALUES: tuple[Text, ...] = ("a\0b", DIGITS, "(?P<", "2026-13-45")
VALUES: tuple[Text, ...] = (
    *KEY_VALUES,
    *(
        "\0",
        "",
        " ",
        "(",
        "[",
        "*",
        "\\",
        "a{1,999999}",
        "%",
        "_",
        "'",
        '"',
        "';--",
        "<b>",
        "{{7*7}}",
        "${x}",
    ),
    *(
        "-1",
        "0",
        "1",
        "1.5",
        "1,2,3",
        f"1,{DIGITS}",
        f"-{DIGITS}",
        "9" * 20,
        "9223372036854775808",
        "2147483648",
    ),
    *(
        "1e999999",
        "-1e400",
        "NaN",
        "Infinity",
        "0x10",
        "1_000",
        "\u0663",
        "\u00b2",
        "\u2460",
        "1" + "0" * 400,
    ),
    *("0000-00-00", "0001-01-01", "9999-12-31", "99999-01-01", "2026-02-30", "2026-02", "9999-99", "0001-01"),
    *(
        "2026-03-01T25:61:61",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "24:00:00",
        "31/12/9999",
    ),
    *(
        "true",
        "None",
        "null",
        "[]",
        "{}",
        "on",
        "~",
        ".",
        "..",
        "../../etc/passwd",
        "_5F",
        "_00",
        "_ZZ",
        "pk__in",
    ),
    *(
        "x" * 20_000,
        "\r\nX-Header: x",
        "\u202e",
        "\ufeff",
        "\u0130",
        "\U0001f4a5",
        "a b",
        "__class__",
        "datas",
    ),
    *(b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"a\x00"),
    *(
        "http://example.com/",
        "//example.com",
        "javascript:alert(1)",
        "1.2.3.4",
        "a@b",
        "xx",
        "en-" + "a" * 600,
    ),
)
LOOKUPS = (
    *("exact", "iexact", "regex", "iregex", "in", "range", "isnull", "lt", "gte", "contains", "istartswith"),
    *("year", "iso_year", "month", "week_day", "hour", "date", "date__gt", "time", "year__in", "len", "0"),
    *("has_key", "contained_by", "unknown", "id__exact", "id__regex"),
)
OF_LISTS = (
    "o",
    "p",
    "e",
    "q",
    "all",
    "_facets",
    "_popup",
    "_to_field",
    "_changelist_filters",
    "pk",
    "pk__regex",
)
# Servers refuse control characters in headers, but cookies have them in another spelling.
HEADERS = {
    "Cookie": (
        'sessao="aaaaaaaa\\000"',
        "sessao=" + "a" * 4000,
        "sessao=\xed\xa0\x80aaaaaaaa",
        'csrf="\\000"',
        'django_language="pt\\000"',
        'tema="\\000"',
        'messages="\\000"',
        "messages=W10:1:a",
        "=;;=;" * 50,
    ),
    "Accept-Language": ("\xff", "pt-" + "a" * 600, "en;q=1e999999", "*;q=nan", ",,;;", "../../pt"),
    "Host": ("example.com", "\xff", "[::1", "localhost:99999999", "a" * 300, "localhost:80@x"),
    "Referer": ("\xff", "http://[", "x" * 9000),
    "Origin": ("null", "http://[", "\xff"),
    "If-None-Match": ('W/"', "*", '"' + "a" * 9000, "\xff"),
    "If-Modified-Since": ("99999", "Mon, 99 Xxx 9999 99:99:99 GMT"),
    "X-Forwarded-For": ("\xff", "1.2.3.4, '", "," * 500),
    "Accept": ("\xff", ";;;", "*/*;q=" + DIGITS),
    "Range": ("bytes=9-1", f"bytes={DIGITS}-"),
    "Content-Length": ("0",),
}
GROUP = re.compile(r"<(?:\w+:)?(\w+)>")
NAMED = re.compile(r"\(\?P<(\w+)>[^)]*\)")


@dataclass
class Address:
    """An address of the resolver, with all that is known to be read there."""

    route: str
    name: str
    arguments: dict[str, str] = field(default_factory=dict)  # of the path, with which it is a page
    query: Pairs = ()  # with which it is a page
    parameters: set[str] = field(default_factory=set)
    forms: list[FormReader] = field(default_factory=list)

    @property
    def places(self) -> list[str]:
        """The names of the path's arguments."""
        return GROUP.findall(NAMED.sub(r"<\1>", self.route))

    def path(self, **changes: Text) -> str:
        """Return the path, with ``changes`` in the place of arguments with which it is a page."""
        values = {**self.arguments, **changes}
        plain = NAMED.sub(r"<\1>", self.route).replace("^", "").replace("$", "")
        return "/" + GROUP.sub(lambda found: quote(values.get(found[1], "1"), safe=""), plain)

    def get(self, query: Pairs = (), headers: tuple[tuple[str, str], ...] = (), **changes: Text) -> "Request":
        """Return a request of the page with a query instead of its own."""
        kept = tuple((name, value) for name, value in self.query if name not in dict(query))
        return Request("GET", self.path(**changes), (*kept, *query), headers=headers)


@dataclass(frozen=True)
class Request:
    """A request as it goes out."""

    method: str
    path: str
    query: Pairs = ()
    form: Pairs = ()
    headers: tuple[tuple[str, str], ...] = ()

    def send(self, client: Client) -> Any:
        """Send it and return the response, a 500 where a view failed."""
        headers = dict(self.headers)
        more: dict[str, Any] = {"headers": {name: text for name, text in headers.items() if name != "Cookie"}}
        if "Cookie" in headers:
            own = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
            more["HTTP_COOKIE"] = f"{own}; {headers['Cookie']}"
        if self.method == "POST":
            more |= {"data": encoded(self.form), "content_type": "application/x-www-form-urlencoded"}
        return client.generic(self.method, f"{self.path}?{encoded(self.query)}", **more)

    def __str__(self) -> str:
        parts = (self.path, encoded(self.query), encoded(self.form), self.headers or "")
        return " ".join([self.method, *(str(part)[:1200] for part in parts)])


def encoded(pairs: Iterable[tuple[str, Text]]) -> str:
    """Return names and values as a query has them."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)


def addresses(patterns: Any = None, prefix: str = "") -> Iterator[Address]:
    """Yield every address of the resolver."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield Address(route, pattern.name or "")


def survey(clients: dict[str, Client], conta: int, device: int) -> list[Address]:
    """Return every address, with what its pages read and what their forms would send.

    ``clients`` are a ``superuser``, who opens the admin's pages, and others, who open the rest; ``conta`` and
    ``device`` are what the pages of tenants and of entries are about.
    """
    found = []
    for one in addresses():
        first = _first_row(one)
        arguments = {"conta": str(conta), "app_label": "tds_new", "content_type_id": "1", "url": "x", **first}
        query = (("dispositivo", str(device)),) if one.name.endswith("_add") else ()
        for decision in BY_NAME if "name" in one.places else ("",):
            names = {**arguments, "name": decision}
            found.append(Address(one.route, one.name, names, query, set(_of_list(one.name))))
    for address in found:
        of_admin = address.route.startswith("admin/")
        for client in [clients["superuser"]] if of_admin else clients.values():
            _visit(address, client, of_admin)
    return found


def _visit(address: Address, client: Client, of_admin: bool) -> None:
    """Open an address, and note what is read there, and what its forms would send."""
    with _reading(address.parameters):
        response = address.get().send(client)
    if response.status_code == 200 and response["Content-Type"].startswith("text/html"):
        address.forms.append(form := FormReader(response.text))
        if address.name.endswith("_add"):  # its form begins with what the query suggests
            address.parameters |= {*form.values, *form.choices}
    elif not of_admin:
        address.forms += _forms_without_page(address, client)


def _forms_without_page(address: Address, client: Client) -> Iterator[FormReader]:
    """Yield a form of what an address reads of one that other pages have."""
    names: set[str] = set()
    with _reading(names), _undone(client):
        response = Request("POST", address.path()).send(client)
    if response.status_code != 405:
        form = FormReader("")
        form.values.update({name: [""] for name in names})
        yield form


@contextmanager
def _undone(client: Client) -> Iterator[None]:
    """Take back what a form changes."""
    with _kept_cookies(client), transaction.atomic():
        yield
        transaction.set_rollback(True)


@contextmanager
def _kept_cookies(client: Client) -> Iterator[None]:
    """Let nobody be logged out by a request."""
    cookies = copy.deepcopy(client.cookies)
    yield
    client.cookies = cookies


def _first_row(address: Address) -> dict[str, str]:
    for model in admin.site._registry:
        if f"/{model._meta.app_label}/{model._meta.model_name}/" in address.route:
            first = model._default_manager.order_by("pk").first()
            assert first is not None, f"the world of this test has no {model.__name__}"
            return {"object_id": str(admin_quote(first.pk)), "id": str(first.pk), "message_id": str(first.pk)}
    return {}


def _of_list(name: str) -> Iterator[str]:
    """Yield the parameters of an admin's list, offered or not."""
    for model, model_admin in admin.site._registry.items():
        if name == f"{model._meta.app_label}_{model._meta.model_name}_changelist":
            yield from (*OF_LISTS, *_offered(model_admin), *_lookups(model))


def _offered(model_admin: Any) -> Iterator[str]:
    for chosen in model_admin.list_filter:
        path = chosen[0] if isinstance(chosen, tuple | list) else chosen
        if isinstance(path, str):
            yield from (path, *(f"{path}__{lookup}" for lookup in ("exact", "isnull", "gte", "lt")))
        else:
            yield path.parameter_name or ""
    if model_admin.date_hierarchy:
        yield from (f"{model_admin.date_hierarchy}__{part}" for part in ("year", "month", "day"))


def _lookups(model: type[Model]) -> Iterator[str]:
    for one in model._meta.concrete_fields:
        yield from (one.name, *(f"{one.name}__{lookup}" for lookup in LOOKUPS))


@contextmanager
def _reading(names: set[str]) -> Iterator[None]:
    """Add the names that views read of the query to ``names``."""

    def spy(method: str) -> Callable[..., Any]:
        real = getattr(QueryDict, method)

        def call(self: QueryDict, key: Any, *rest: Any) -> Any:
            names.add(str(key))
            return real(self, key, *rest)

        return call

    methods = ("get", "getlist", "pop", "__getitem__", "__contains__")
    with mock.patch.multiple(QueryDict, **{method: spy(method) for method in methods}):
        yield


def systematic(known: Iterable[Address]) -> Iterator[Request]:
    """Yield a key value for each part of a path and each parameter but a list's lookups, in turns."""
    turn = 0
    for address in known:
        for place in address.places:
            turn += 1
            yield address.get(**{place: KEY_VALUES[turn % len(KEY_VALUES)]})
        for name in sorted(n for n in address.parameters if n.rpartition("__")[2] not in LOOKUPS):
            turn += 1
            yield address.get(((name, KEY_VALUES[turn % len(KEY_VALUES)]),))


def random_request(known: list[Address], rng: Random) -> Request:
    """Return a request with a few hostile values in one kind of place."""
    address = rng.choice(known)
    kind = rng.choice(("query", "query", "path", "form", "form", "header"))
    if kind == "form" and address.forms:
        asked = _query(address, rng) if rng.random() < 0.2 else ()
        return Request(
            "POST", address.path(), (*address.query, *asked), _form(rng.choice(address.forms), rng)
        )
    if kind == "path" and address.places:
        return address.get(**{place: rng.choice(VALUES) for place in address.places if rng.random() < 0.7})
    if kind == "header":
        name = rng.choice(sorted(HEADERS))
        return address.get(((rng.choice("abq"), "%"),), ((name, rng.choice(HEADERS[name])),))
    return address.get(_query(address, rng))


def _query(address: Address, rng: Random) -> Pairs:
    names = sorted(address.parameters) or ["q"]
    return tuple((rng.choice(names), rng.choice(VALUES)) for _ in range(rng.choice((1, 1, 2, 3))))


def _form(form: FormReader, rng: Random) -> Pairs:
    """Return what a page would send, with fields chosen, hostile, repeated or missing."""
    sent: dict[str, list[Text]] = {name: list(values) for name, values in form.values.items()}
    for name, choices in form.choices.items():
        if choices and (rng.random() < 0.5 or name == "action"):
            sent[name] = [rng.choice(choices)]
    names = sorted({*form.values, *form.choices, "action", "_popup", "_to_field", "_saveasnew"})
    for name in rng.sample(names, min(len(names), rng.choice((1, 1, 1, 2, 5)))):
        value = rng.choice(VALUES)
        sent[name] = rng.choice(([value], [value], [value, *sent.get(name, [])], []))
    return tuple((name, value) for name, values in sent.items() for value in values)


class Attack:
    """Sends requests, and keeps those that failed on our side with their exceptions."""

    def __init__(self) -> None:
        self.failures: dict[str, list[str]] = defaultdict(list)
        self.statuses: Counter[int] = Counter()
        self._error: BaseException | None = None

    def send(self, client: Client, request: Request) -> None:
        """Send a request; what a form changes is taken back."""
        client.raise_request_exception = False
        self._error = None
        with _undone(client) if request.method == "POST" else _kept_cookies(client):
            response = request.send(client)
        self.statuses[response.status_code] += 1
        if response.status_code >= 500:
            self.failures[f"{type(self._error).__name__}: {str(self._error)[:120]}"].append(str(request))

    def __enter__(self) -> "Attack":
        got_request_exception.connect(self._keep)
        return self

    def __exit__(self, *_exception: object) -> None:
        got_request_exception.disconnect(self._keep)

    def _keep(self, **_signal: Any) -> None:
        self._error = sys.exc_info()[1]
