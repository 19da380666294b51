"""Series in parts, each with a mark of its content: a poll fetches only what changed, late readings of any age included."""

import hashlib
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass

Ponto = list[float | int | None]
# The browser cuts the same way (painel.js).
PONTOS_POR_PARTE = 32
TAMANHO_DA_MARCA = 6
MARCAS = re.compile(rf"([A-Za-z0-9_-]{{{TAMANHO_DA_MARCA}}})*")


@dataclass(frozen=True, slots=True)
class Parte:
    """Neighbouring points of a series; ``marca`` tells whether they are the ones that somebody has."""

    indice: int
    marca: str
    pontos: list[Ponto]


def em_partes(serie: int, passo_ms: int, pontos: list[Ponto]) -> list[Parte]:
    """``pontos`` (``[t, ...]``, t in milliseconds) cut at fixed times, so that a window that moves on keeps its parts."""
    grupos: dict[int, list[Ponto]] = {}
    for ponto in pontos:
        grupos.setdefault(int(ponto[0] or 0) // (passo_ms * PONTOS_POR_PARTE), []).append(ponto)
    return [Parte(indice, _marca(serie, indice, grupo), grupo) for indice, grupo in grupos.items()]


def _marca(serie: int, indice: int, pontos: list[Ponto]) -> str:
    resumo = hashlib.blake2b(repr((serie, indice, pontos)).encode(), digest_size=6).digest()
    return urlsafe_b64encode(resumo).decode()[:TAMANHO_DA_MARCA]


def ler(texto: str) -> frozenset[str]:
    """The marks that a browser sent, one after the other; none where the text makes no sense."""
    if not MARCAS.fullmatch(texto):
        return frozenset()
    return frozenset(texto[i : i + TAMANHO_DA_MARCA] for i in range(0, len(texto), TAMANHO_DA_MARCA))
