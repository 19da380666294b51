"""English is complete, and compiled without GNU gettext just as with it."""

import gettext
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tds_new.catalog import CatalogError, compile_catalog, read
from tests.support.paths import ROOT

ENGLISH = ROOT / "tds_new" / "locale" / "en" / "LC_MESSAGES" / "django.po"
PLACEHOLDERS = re.compile(r"%\((\w+)\)[sd]|%[sd]")

pytestmark = pytest.mark.once


def test_every_message_has_an_english_translation_that_somebody_vouches_for() -> None:
    assert [e.texts["msgid"] for e in read(ENGLISH) if not e.complete] == []


def test_translations_keep_their_placeholders() -> None:
    for entry in read(ENGLISH)[1:]:
        for translation in entry.translations:
            assert sorted(PLACEHOLDERS.findall(translation)) == sorted(
                PLACEHOLDERS.findall(entry.texts["msgid"])
            ), entry.texts["msgid"]


@pytest.mark.skipif(shutil.which("xgettext") is None, reason="GNU gettext is not installed")
def test_the_catalogue_has_every_message_of_the_sources(tmp_path: Path) -> None:
    copy = tmp_path / "tds_new"
    shutil.copytree(ROOT / "tds_new", copy, ignore=shutil.ignore_patterns("static", "__pycache__", "*.mo"))
    catalogue = copy / "locale" / "en" / "LC_MESSAGES" / "django.po"
    known = {e.texts["msgid"] for e in read(catalogue)}

    subprocess.run(
        [sys.executable, "-m", "django", "makemessages", "-l", "en", "--no-location", "--no-wrap", "-v0"],
        cwd=copy,
        check=True,
        env={name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
    )

    assert {e.texts["msgid"] for e in read(catalogue)} - known == set()


def test_compiled_messages_are_found_by_python(tmp_path: Path) -> None:
    compile_catalog(ENGLISH, tmp_path / "django.mo")
    with (tmp_path / "django.mo").open("rb") as file:
        english = gettext.GNUTranslations(file)

    assert english.gettext("Painel") == "Dashboard"
    assert (
        english.ngettext("afeta %(n)d dispositivo", "afeta %(n)d dispositivos", 1) == "affects %(n)d device"
    )
    assert (
        english.ngettext("afeta %(n)d dispositivo", "afeta %(n)d dispositivos", 2) == "affects %(n)d devices"
    )
    assert english.gettext("not there") == "not there"


def test_guesses_and_empty_translations_are_not_compiled(tmp_path: Path) -> None:
    source = tmp_path / "a.po"
    source.write_text(
        'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n'
        '#, fuzzy\nmsgid "um"\nmsgstr "one?"\n\nmsgid "dois"\nmsgstr ""\n\n'
        '#~ msgid "velho"\n#~ msgstr "old"\n\n'
        'msgctxt "c"\nmsgid "três "\n"linhas"\nmsgstr "three "\n"lines"\n',
        encoding="utf-8",
    )

    assert compile_catalog(source, tmp_path / "a.mo") == 2
    with (tmp_path / "a.mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    assert (compiled.gettext("um"), compiled.gettext("dois")) == ("um", "dois")
    assert compiled.pgettext("c", "três linhas") == "three lines"


def test_a_broken_catalogue_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.po").write_text('msgid "a"\nmsgstr "b\n', encoding="utf-8")

    with pytest.raises(CatalogError, match=r"a\.po:2"):
        read(tmp_path / "a.po")
