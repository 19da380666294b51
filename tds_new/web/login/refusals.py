"""Answers to passwords that are not tried: how long to wait; a line in the log."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from math import ceil

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from tds_new.web.login.hashing import HashingBusyError
from tds_new.web.login.limits import LoginRefusedError, Refusal, Tipo

logger = logging.getLogger(__name__)

MINUTE_S = 60
LINE_EVERY_S = 10.0


class RefusalLog:
    """Writes how many logins were refused, in one line of a process every 10 seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._written = float("-inf")

    def note(self, reason: str, network: str) -> None:
        """Count a refusal, and write the line if it is time."""
        with self._lock:
            self._counts[reason] += 1
            if time.monotonic() < self._written + LINE_EVERY_S:
                return
            self._written = time.monotonic()
            counts, self._counts = self._counts, Counter()
        parts = ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
        logger.warning("logins refused: %s; the last one from %s", parts, network or "an unknown network")


LOG = RefusalLog()


class LoginRefusalMiddleware:
    """Answers 429 or 503 where a password was not tried, whichever page asked for it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass on the request."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the page that says how long to wait; None for any other exception."""
        if isinstance(exception, LoginRefusedError):
            LOG.note(exception.refusal.rule.lower(), exception.network)
            return _page(request, _explanation(exception.refusal), 429, exception.refusal.wait_s)
        if isinstance(exception, HashingBusyError):
            LOG.note("busy", "")
            text = _("Muitas pessoas estão entrando ao mesmo tempo. Espere alguns segundos e tente de novo.")
            return _page(request, text, 503, exception.retry_after_s)
        return None


def _page(request: HttpRequest, explanation: str, status: int, wait_s: int) -> HttpResponse:
    response = render(request, "tds_new/locked.html", {"explanation": explanation}, status=status)
    response["Retry-After"] = str(wait_s)
    response["Cache-Control"] = "no-store"
    # Django would write a line for each; ``LOG`` writes one for many.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def _explanation(refusal: Refusal) -> str:
    reasons = {
        Tipo.PESSOA_E_REDE: _("Houve tentativas demais com este e-mail a partir desta rede."),
        Tipo.REDE: _("Houve tentativas demais a partir desta rede."),
        Tipo.PESSOA: _("Há tentativas demais com este e-mail, de vários lugares."),
    }
    if refusal.wait_s > MINUTE_S:
        n = ceil(refusal.wait_s / MINUTE_S)
        wait = ngettext("Espere %(n)d minuto", "Espere %(n)d minutos", n) % {"n": n}
    else:
        n = refusal.wait_s
        wait = ngettext("Espere %(n)d segundo", "Espere %(n)d segundos", n) % {"n": n}
    rest = _(
        "e tente de novo; até lá, nem a senha certa entra. "
        "Se não foi você, avise quem administra a sua conta."
    )
    return f"{reasons[refusal.rule]} {wait} {rest}"
