"""The headers that every answer has, whatever made it."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.middleware.security import SecurityMiddleware


class HeadersMiddleware(SecurityMiddleware):
    """Adds Django's security headers to every answer, and forbids to store it.

    It comes first, so that errors, redirects, static files and the health check have them too. An answer that
    may be stored says so itself. Redirects to HTTPS are made further in.
    """

    def process_request(self, request: HttpRequest) -> None:
        """Let the request pass."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> Any:
        """Add the headers that the answer has not."""
        response.setdefault("Cache-Control", "no-store")
        return super().process_response(request, response)
