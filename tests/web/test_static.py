"""Static files: every reference resolves under hashed names, nothing comes from elsewhere, the dashboard stays light."""

import gzip
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from tests.support.paths import ROOT

RAIZ = ROOT / "tds_new"
ESTATICOS = RAIZ / "static" / "tds_new"
CHART = ESTATICOS / "vendor" / "chart.umd.js"

pytestmark = pytest.mark.once


def comprimido(*arquivos: Path) -> int:
    return sum(len(gzip.compress(arquivo.read_bytes(), 6)) for arquivo in arquivos)


@pytest.mark.skipif(not CHART.exists(), reason="the chart library is fetched by `make install`")
def test_collectstatic_finds_everything_that_the_files_name(tmp_path: Path, settings: Any) -> None:
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
    }

    call_command("collectstatic", interactive=False, verbosity=0)

    assert list(tmp_path.glob("tds_new/js/dashboard.*.js"))
    assert list(tmp_path.glob("tds_new/vendor/chart.umd.*.js.gz"))


def test_pages_load_nothing_from_another_host() -> None:
    for arquivo in [
        *RAIZ.glob("templates/**/*.html"),
        *ESTATICOS.glob("css/*.css"),
        *ESTATICOS.glob("js/*.js"),
        *ESTATICOS.glob("*.svg"),
    ]:
        enderecos = set(re.findall(r"https?://[^\s\"')]+", arquivo.read_text(encoding="utf-8"))) - {
            "http://www.w3.org/2000/svg"
        }
        assert enderecos == set(), arquivo


def test_templates_have_nothing_inline() -> None:
    for arquivo in RAIZ.glob("templates/**/*.html"):
        texto = arquivo.read_text(encoding="utf-8")
        assert not re.search(r"\sstyle=|<style|\son\w+=|<script(?![^>]*\ssrc=)", texto), arquivo


def test_every_icon_that_is_named_is_in_the_sprite() -> None:
    sprite = set(re.findall(r'<symbol id="(\w+)"', (ESTATICOS / "icons.svg").read_text(encoding="utf-8")))
    nomeados = set(
        re.findall(
            r'{% icone "(\w+)"',
            "".join(a.read_text(encoding="utf-8") for a in RAIZ.glob("templates/**/*.html")),
        )
    )

    assert nomeados <= sprite
    assert {
        "energia",
        "agua",
        "gas",
        "temperatura",
        "demanda",
        "outra",
        "ok",
        "atencao",
        "critico",
        "info",
        "neutro",
        "seguir",
    } <= sprite


def test_the_dashboard_stays_within_its_budget() -> None:
    scripts = list((ESTATICOS / "js").glob("*.js"))

    assert len(scripts) <= 8
    assert comprimido(*scripts) <= 24 * 1024
    assert comprimido(ESTATICOS / "css" / "tds.css") <= 8 * 1024
    assert comprimido(ESTATICOS / "icons.svg") <= 6 * 1024
    assert not CHART.exists() or comprimido(CHART) <= 71 * 1024
