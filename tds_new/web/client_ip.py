"""The address of a browser, as far as it can be trusted."""

from django.conf import settings
from django.http import HttpRequest


def client_ip(request: HttpRequest) -> str:
    """Return the address that the request came from.

    Behind a proxy (``TDS_BEHIND_PROXY``) it is the last address of ``X-Forwarded-For``, the one that our
    proxy added. The addresses before it were sent by the browser, so they could be forged to get around the
    lock-out.
    """
    remote = str(request.META.get("REMOTE_ADDR", ""))
    if not settings.TDS_BEHIND_PROXY:
        return remote
    return request.headers.get("X-Forwarded-For", remote).rpartition(",")[2].strip() or remote
