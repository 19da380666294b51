"""Monthly consumption, remembered for a while where it is costly to compute."""

import hashlib
import time
from datetime import datetime

from django.core.cache import cache

from tds_new.models import Conta, Dispositivo
from tds_new.queries.consumo import ConsumoPorMes, consumo_por_mes, mes_corrente

# What is computed faster than this is computed for every answer. What takes longer is kept for 20 times as long, so that open
# dashboards take at most a twentieth of a process's time, and at most for ten minutes.
DEMORADO_S = 0.25
VEZES = 20
MAXIMO_S = 600


def consumo_lembrado(conta: Conta, dispositivos: list[Dispositivo] | None, agora: datetime) -> list[ConsumoPorMes]:
    """The Conta's consumption by month as of ``ate``, at most ten minutes ago (see ``consumo_por_mes``)."""
    quais = "todos" if dispositivos is None else ",".join(str(d.pk) for d in dispositivos)
    chave = "consumo:" + hashlib.sha256(f"{conta.pk}:{mes_corrente(agora)}:{quais}".encode()).hexdigest()
    guardado: list[ConsumoPorMes] | None = cache.get(chave)
    if guardado is not None:
        return guardado
    inicio = time.monotonic()
    calculado = consumo_por_mes(conta, dispositivos, agora)
    demora = time.monotonic() - inicio
    if demora >= DEMORADO_S:
        cache.set(chave, calculado, min(VEZES * demora, MAXIMO_S))
    return calculado
