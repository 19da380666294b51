"""Whether a dashboard changed since the browser last asked: answered from three counters, before anything heavy."""

import hashlib
from datetime import datetime

from django.http import HttpRequest
from django.utils.translation import get_language

from tds_new.models import Conta
from tds_new.queries.fleet import Sequencias

# What depends on the clock alone (a device's tolerance passes, the window moves on) shows within this time.
BLOCO_S = 300

# Of the page and its data together: a page of another version is told to reload.
VERSAO = 3


def do_painel(request: HttpRequest, conta: Conta, sequencias: Sequencias, agora: datetime) -> str:
    """The ETag of this person's dashboard now, quoted.

    Made of the Conta and its zone, the person, the query string (without what the browser already has), the language, the
    counters, the five-minute block and the version of the page.
    """
    consulta = request.GET.copy()
    for do_navegador in ("seq", "tem"):
        consulta.pop(do_navegador, None)
    partes = (
        VERSAO,
        conta.pk,
        conta.name,
        conta.timezone,
        request.user.pk,
        sorted(consulta.lists()),
        get_language(),
        sequencias.ingestao,
        sequencias.status,
        sequencias.consumo,
        int(agora.timestamp()) // BLOCO_S,
    )
    return f'"{hashlib.sha256(repr(partes).encode()).hexdigest()[:32]}"'
