"""Browsers from which a person has logged in: each has tries of its own.

Without this, anybody in a person's own network, or behind the same proxy, could keep that person out.
"""

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import get_random_string

KNOWN_FOR_S = 30 * 24 * 3600
SIGNER = signing.TimestampSigner(salt="tds_new.login.device")


def _cookie() -> str:
    return "__Host-aparelho" if settings.TDS_HTTPS else "aparelho"


def token_of(request: HttpRequest | None) -> str:
    """Return what the browser says that it is; anybody may have written it."""
    return request.COOKIES.get(_cookie(), "") if request else ""


def device_of(token: str, person: int | None) -> str:
    """Return the browser's name if ``person`` logged in with it lately; else ``""``."""
    try:
        owner, _, device = SIGNER.unsign(token, max_age=KNOWN_FOR_S).partition(":")
    except signing.BadSignature:
        return ""
    return device if owner == str(person) else ""


def remember(response: HttpResponse, person: int) -> None:
    """Let the browser say from now on that ``person`` has logged in with it."""
    response.set_cookie(
        _cookie(),
        SIGNER.sign(f"{person}:{get_random_string(16)}"),
        KNOWN_FOR_S,
        secure=settings.TDS_HTTPS,
        httponly=True,
        samesite="Lax",
    )
