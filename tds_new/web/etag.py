"""Whether a dashboard changed since the browser last asked: answered from three counters, before anything heavy."""

import hashlib
from datetime import datetime

from django.http import HttpRequest
from django.utils.translation import get_language

from tds_new.models import Conta
from tds_new.queries.fleet import Sequences

# What depends on the clock alone (a device's tolerance passes, the window moves on) shows within this time.
INTERVAL_S = 300

# Of the page and its data together: a page of another version is told to reload.
VERSION = 4


def of_dashboard(request: HttpRequest, conta: Conta, sequences: Sequences, now: datetime) -> str:
    """The ETag of this person's dashboard now, quoted.

    Made of the Conta and its zone, the person, the query string (without what the browser already has), the language, the
    counters, the five-minute block and the version of the page.
    """
    query = request.GET.copy()
    for name in ("seq", "tem"):
        query.pop(name, None)
    parts = (
        VERSION,
        conta.pk,
        conta.name,
        conta.timezone,
        request.user.pk,
        sorted(query.lists()),
        get_language(),
        sequences.ingestion,
        sequences.status,
        sequences.consumption,
        int(now.timestamp()) // INTERVAL_S,
    )
    return f'"{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"'
