"""The style sheet's colours keep the contrast that they promise, in both themes."""

import re
from itertools import pairwise

import pytest

from tests.support.paths import ROOT

CSS = (ROOT / "tds_new/static/tds_new/css/tds.css").read_text(encoding="utf-8")
FUNDOS = ("page", "surface")
TEXTOS = (
    "text",
    "text-2",
    "acao",
    "acao-forte",
    "q-energia",
    "q-agua",
    "q-gas",
    "q-temperatura",
    "q-demanda",
    "q-outra",
)
ESTADOS = ("ok", "atencao", "critico", "info", "neutro")

pytestmark = pytest.mark.once


def tokens(bloco: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9A-F]{6});", bloco))


BLOCOS = [tokens(bloco) for bloco in re.findall(r":root[^{]*\{(.*?)\}", CSS, re.DOTALL)]
TEMAS = {"claro": BLOCOS[0], "escuro": BLOCOS[1]}


def luz(cor: str) -> float:
    canais = [int(cor[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in canais)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contraste(a: str, b: str) -> float:
    claro, escuro = sorted((luz(a), luz(b)), reverse=True)
    return (claro + 0.05) / (escuro + 0.05)


def test_the_automatic_dark_theme_is_the_dark_theme() -> None:
    assert BLOCOS[2] == TEMAS["escuro"]


@pytest.mark.parametrize("tema", TEMAS)
@pytest.mark.parametrize("texto", TEXTOS)
@pytest.mark.parametrize("fundo", FUNDOS)
def test_text_has_at_least_four_and_a_half_to_one(tema: str, texto: str, fundo: str) -> None:
    # Gas is a line and an icon beside its word, never text: three to one, as for every graphic.
    minimo = 3 if texto.startswith("q-") else 4.5
    assert contraste(TEMAS[tema][texto], TEMAS[tema][fundo]) >= minimo


@pytest.mark.parametrize("tema", TEMAS)
@pytest.mark.parametrize("estado", ESTADOS)
def test_states_are_readable_on_their_tint(tema: str, estado: str) -> None:
    assert contraste(TEMAS[tema][estado], TEMAS[tema][f"{estado}-fundo"]) >= 4.5


@pytest.mark.parametrize("tema", TEMAS)
def test_controls_series_focus_and_buttons_stand_out(tema: str) -> None:
    cores = TEMAS[tema]
    for nome in ("controle", "foco", *(f"s{n}" for n in range(1, 9))):
        assert min(contraste(cores[nome], cores[fundo]) for fundo in FUNDOS) >= 3, nome
    assert contraste(cores["sobre-acao"], cores["acao"]) >= 4.5
    assert contraste(cores["text-2"], cores["surface-2"]) >= 4.5


def test_the_series_differ_from_their_neighbours() -> None:
    for cores in TEMAS.values():
        assert all(cores[f"s{a}"] != cores[f"s{b}"] for a, b in pairwise(range(1, 9)))
