"""The ETag of a dashboard: from it a poll learns whether anything changed."""

import hashlib
from datetime import datetime

from django.http import HttpRequest
from django.utils.translation import get_language

from tds_new.models import Conta
from tds_new.queries.fleet import Sequences
from tds_new.web.dashboard.payload import VERSION

# The longest delay of changes that only the clock makes: a device's tolerance passes, the window moves on.
INTERVAL_S = 300


def of_dashboard(request: HttpRequest, conta: Conta, sequences: Sequences, now: datetime) -> str:
    """Return the ETag of this person's dashboard at ``now``, quoted.

    It is made of the Conta and its zone, the person, the query string (without what the browser already has),
    the language, the counters ``sequences``, the five minutes that ``now`` falls in, and the version of the
    page.
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
