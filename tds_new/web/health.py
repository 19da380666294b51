"""The health check of the web and its database: no session, login or host name."""

from collections.abc import Callable

import psycopg
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

PATH = "/healthz"
# The shortest timeout that libpq understands. It also detects a server that takes connections and then does
# not answer.
TIMEOUT_S = 2


def database_answers() -> bool:
    """Return whether a new connection opens and answers within two seconds."""
    parameters = {
        **connection.get_connection_params(),
        "connect_timeout": TIMEOUT_S,
        "options": f"-c statement_timeout={TIMEOUT_S * 1000}",
    }
    for name in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    try:
        with psycopg.connect(**parameters, autocommit=True) as direct:
            direct.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Return 200, or 503 while the database is away."""
    ok = database_answers()
    return JsonResponse(
        {"status": "ok" if ok else "unavailable", "database": "ok" if ok else "unavailable"},
        status=200 if ok else 503,
    )


class HealthMiddleware:
    """Answers ``/healthz`` before anything looks at the request's host or scheme.

    Probes come with the host names of load balancers, which the settings do not allow.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a probe, and pass on everything else."""
        return healthz(request) if request.path == PATH else self.get_response(request)
