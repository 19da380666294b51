"""What is costly to compute, remembered for a while: the months that are over, on a plain PostgreSQL that keeps no sums of them."""

import time
from collections.abc import Callable
from typing import TypeVar

from django.core.cache import cache

T = TypeVar("T")

# What is computed faster than this is computed for every answer. What takes longer is kept for 20 times as long, so that open
# dashboards take at most a twentieth of a process's time, and for at most a minute, so that late data is seen.
DEMORADO_S = 0.25
VEZES = 20
MAXIMO_S = 60


def lembrar(chave: str, calcular: Callable[[], T]) -> T:
    """``calcular()``, or what it gave under this name at most a minute ago."""
    guardado: T | None = cache.get(chave)
    if guardado is not None:
        return guardado
    inicio = time.monotonic()
    calculado = calcular()
    demora = time.monotonic() - inicio
    if demora >= DEMORADO_S:
        cache.set(chave, calculado, min(VEZES * demora, MAXIMO_S))
    return calculado
