"""The style sheet's colours keep the contrast that they promise, in both themes."""

import re
from itertools import pairwise

import pytest

from tests.support.paths import ROOT

CSS = (ROOT / "tds_new/static/tds_new/css/tds.css").read_text(encoding="utf-8")
BACKGROUNDS = ("page", "surface")
TEXTS = (
    "text",
    "text-2",
    "action",
    "action-strong",
    "q-energia",
    "q-agua",
    "q-gas",
    "q-temperatura",
    "q-demanda",
    "q-outra",
)
STATES = ("ok", "warning", "critical", "info", "neutral")

pytestmark = pytest.mark.once


def tokens(rule: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9A-F]{6});", rule))


RULES = [tokens(rule) for rule in re.findall(r":root[^{]*\{(.*?)\}", CSS, re.DOTALL)]
THEMES = {"claro": RULES[0], "escuro": RULES[1]}


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_automatic_dark_theme_is_the_dark_theme() -> None:
    assert RULES[2] == THEMES["escuro"]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("background", BACKGROUNDS)
def test_text_has_at_least_four_and_a_half_to_one(theme: str, text: str, background: str) -> None:
    # Gas is a line and an icon beside its word, never text: three to one, as for every graphic.
    least = 3 if text.startswith("q-") else 4.5
    assert contrast(THEMES[theme][text], THEMES[theme][background]) >= least


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("state", STATES)
def test_states_are_readable_on_their_tint(theme: str, state: str) -> None:
    assert contrast(THEMES[theme][state], THEMES[theme][f"{state}-tint"]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
def test_controls_series_focus_and_buttons_stand_out(theme: str) -> None:
    colours = THEMES[theme]
    for name in ("control", "focus", *(f"s{n}" for n in range(1, 9))):
        assert min(contrast(colours[name], colours[background]) for background in BACKGROUNDS) >= 3, name
    assert contrast(colours["on-action"], colours["action"]) >= 4.5
    assert contrast(colours["text-2"], colours["surface-2"]) >= 4.5


def test_the_series_differ_from_their_neighbours() -> None:
    for colours in THEMES.values():
        assert all(colours[f"s{a}"] != colours[f"s{b}"] for a, b in pairwise(range(1, 9)))
