"""Static files: references resolve, none leads elsewhere, pages stay light."""

import gzip
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from tests.support.paths import ROOT

PACKAGE = ROOT / "tds_new"
STATIC = PACKAGE / "static" / "tds_new"
CHART = STATIC / "vendor" / "chart.umd.js"

pytestmark = pytest.mark.once


def compressed_size(*files: Path) -> int:
    return sum(len(gzip.compress(file.read_bytes(), 6)) for file in files)


@pytest.mark.skipif(not CHART.exists(), reason="the chart library is fetched by `make install`")
def test_collectstatic_finds_everything_that_the_files_name(tmp_path: Path, settings: Any) -> None:
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "tds_new.web.static_files.HashedStaticFilesStorage"},
    }

    call_command("collectstatic", interactive=False, verbosity=0)

    (dashboard,) = tmp_path.glob("tds_new/js/dashboard.*.js")
    imports = re.findall(r"""from ["']\./([^"']+)["']""", dashboard.read_text(encoding="utf-8"))
    assert "formats.js" not in imports
    assert all((dashboard.parent / name).exists() for name in imports)
    assert list(tmp_path.glob("tds_new/vendor/chart.umd.*.js.gz"))


def test_pages_load_nothing_from_another_host() -> None:
    for file in [
        *PACKAGE.glob("templates/**/*.html"),
        *STATIC.glob("css/*.css"),
        *STATIC.glob("js/*.js"),
        *STATIC.glob("*.svg"),
    ]:
        addresses = set(re.findall(r"https?://[^\s\"')]+", file.read_text(encoding="utf-8"))) - {
            "http://www.w3.org/2000/svg"
        }
        assert addresses == set(), file


def test_templates_have_nothing_inline() -> None:
    for file in PACKAGE.glob("templates/**/*.html"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"\sstyle=|<style|\son\w+=|<script(?![^>]*\ssrc=)", text), file


def test_every_icon_that_is_named_is_in_the_sprite() -> None:
    sprite = set(re.findall(r'<symbol id="(\w+)"', (STATIC / "icons.svg").read_text(encoding="utf-8")))
    named = set(
        re.findall(
            r'{% icon "(\w+)"',
            "".join(a.read_text(encoding="utf-8") for a in PACKAGE.glob("templates/**/*.html")),
        )
    )

    assert named <= sprite
    assert {
        "energia",
        "agua",
        "gas",
        "temperatura",
        "demanda",
        "outra",
        "ok",
        "warning",
        "critical",
        "info",
        "neutral",
        "resume",
    } <= sprite


def test_the_dashboard_stays_within_its_budget() -> None:
    scripts = list((STATIC / "js").glob("*.js"))

    assert len(scripts) <= 8
    assert compressed_size(*scripts) <= 24 * 1024
    assert compressed_size(STATIC / "css" / "tds.css") <= 8 * 1024
    assert compressed_size(STATIC / "icons.svg") <= 6 * 1024
    assert not CHART.exists() or compressed_size(CHART) <= 71 * 1024


def test_every_module_of_the_dashboard_is_announced_so_that_all_load_at_once() -> None:
    page = (PACKAGE / "templates/tds_new/dashboard.html").read_text(encoding="utf-8")
    announced = set(re.findall(r"modulepreload\" href=\"{% static 'tds_new/js/(\w+)\.js'", page))

    assert announced | {"dashboard"} == {file.stem for file in (STATIC / "js").glob("*.js")}
