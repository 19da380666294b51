"""Documents: each link leads to a file or a heading that is there, and the README stays short."""

import re
from functools import cache
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.once

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@cache
def text(path: Path) -> str:
    """A document without its code blocks."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors that GitHub gives to a document's headings."""
    headings = re.findall(r"^#+ (.+)$", text(path), re.MULTILINE)
    return frozenset(re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_link_leads_somewhere(name: str) -> None:
    document = ROOT / name
    broken = []
    for link in LINK.findall(text(document)):
        if re.match(r"[a-z]+:", link):
            continue
        address, _, anchor = link.partition("#")
        target = (document.parent / address).resolve() if address else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_document_is_reached_from_the_readme() -> None:
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        document = waiting.pop()
        if document in seen or document.suffix != ".md":
            continue
        seen.add(document)
        links = (link.partition("#")[0] for link in LINK.findall(text(document)) if ":" not in link)
        waiting += [(document.parent / link).resolve() for link in links if link]
    assert [name for name in DOCUMENTS if ROOT / name not in seen] == []


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


NAMED = re.compile(
    r"(?<![\w/.-])((?:docs|requirements|infrastructure|examples|tools)/[\w/.-]*\.\w+|requirements[\w-]*\.(?:txt|in))"
)
FOLDERS = ("tds_new", "prj_tds_new", "lab", "tools", "tests", "infrastructure", "environments", "examples")
SUFFIXES = (".py", ".toml", ".conf", ".env", ".sh", ".yml", ".service", ".example")


def test_each_file_that_a_source_or_message_names_is_there() -> None:
    sources = [ROOT / "Makefile", ROOT / "Dockerfile", ROOT / "pyproject.toml"]
    sources += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    missing = [
        (path.relative_to(ROOT).as_posix(), name)
        for path in sources
        for name in NAMED.findall(path.read_text(encoding="utf-8"))
        if not (ROOT / name).exists()
    ]
    assert missing == []
