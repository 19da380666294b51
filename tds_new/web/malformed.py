"""Requests that make no sense get a 400 with words, and are no failure of ours."""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import BadRequest
from django.db import DataError
from django.http import HttpRequest, HttpResponse, QueryDict

NUL = "\0"  # PostgreSQL has no text with it, and no person types it
# SQLSTATEs that say of a value that it is none: out of range, no date, no text, not of its type, no pattern.
# Others of their class, such as a division by zero, are faults of statements.
NO_VALUE = {"22003", "22007", "22008", "22021", "22P02", "22P05", "2201B"}


class MalformedRequestMiddleware:
    """Refuses what no page can make sense of, before a page tries to."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Refuse NUL in a path or a cookie, and pass on everything else.

        A query is left to its page: most ignore nonsense in it and say so. ``process_exception`` answers
        where one fails.
        """
        if NUL in request.path or any(NUL in text for pair in request.COOKIES.items() for text in pair):
            raise BadRequest("NUL in the path or a cookie")
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        """Refuse NUL in a form or its address; the CSRF token was checked before."""
        if request.method == "POST" and (_has_nul(request.POST) or _has_nul(request.GET)):
            raise BadRequest("NUL in a form")

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Refuse a reading request one of whose values the database could not read.

        The log keeps the exception. A request that carries no value cannot be at fault, and one that writes
        was validated by its form: both stay failures.
        """
        reading = request.method in ("GET", "HEAD") and _carries_values(request)
        if reading and isinstance(exception, DataError):
            state = getattr(exception.__cause__, "sqlstate", None)
            if state in NO_VALUE or (state is None and _has_nul(request.GET)):
                raise BadRequest("the database cannot read a value of the address") from exception


def _has_nul(values: QueryDict) -> bool:
    return any(NUL in text for name, texts in values.lists() for text in (name, *texts))


def _carries_values(request: HttpRequest) -> bool:
    return bool(request.GET or (request.resolver_match and request.resolver_match.kwargs))
