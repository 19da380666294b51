"""Each part of a name is a term of the schema (docs/glossary.md) or a kept English word.

The test reads what the code defines: modules, functions, classes, parameters, variables and attributes in
Python, every name in SQL statements, every identifier in JavaScript, classes, ids and custom properties in
CSS and HTML. A new word fails until somebody puts it into the glossary, because it is the schema's, or into
``tests/english_words.txt``.
"""

import ast
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.paths import ROOT

WORDS = ROOT / "tests" / "english_words.txt"
GLOSSARY = ROOT / "docs" / "glossary.md"
PYTHON = ("tds_new", "lab", "prj_tds_new", "tests", "tools", "examples")
STATIC, TEMPLATES, STATEMENTS = (ROOT / "tds_new" / name for name in ("static", "templates", "sql"))

PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|LOCK TABLE)\b")
SQL_NOISE = re.compile(r"--[^\n]*|'(?:[^']|'')*'")
NAME = re.compile(r"[A-Za-z_]\w*")
JS_NOISE = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
JS_NAME = re.compile(r"[A-Za-z_$][\w$]*")
CSS_NAME = re.compile(r"[.#]([A-Za-z_][\w-]*)|(--[\w-]+)|@keyframes\s+([\w-]+)")
HTML_NAME = re.compile(r"\b(?:class|id|data-[\w-]+|for)=\"([^\"]*)\"|\b(data-[\w-]+)|{% block (\w+)")


def parts(name: str) -> list[str]:
    """The words that a name is made of, in lower case; single letters and digits are none."""
    return [word.lower() for word in PART.findall(name) if len(word) > 1]


def _python_names(path: Path) -> Iterator[str]:
    """Everything that a module defines, and its own name."""
    yield path.stem
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.arg(arg=name) | ast.alias(asname=str(name)):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case (
                ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
            ):
                yield name
            case ast.Constant(value=str(text)) if SQL.search(text):
                yield from _sql_names(text)


def _sql_names(text: str) -> Iterator[str]:
    """Yield every name in a statement, its aliases and parameters too.

    Key words are English; tables and columns are the schema's.
    """
    yield from NAME.findall(SQL_NOISE.sub(" ", text))


def _script_names(path: Path) -> Iterator[str]:
    yield path.stem
    yield from JS_NAME.findall(JS_NOISE.sub(" ", path.read_text(encoding="utf-8")))


def _style_names(path: Path) -> Iterator[str]:
    text = re.sub(
        r"/\*.*?\*/|\"[^\"]*\"|#[0-9a-fA-F]{3,8}\b", " ", path.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    for found in CSS_NAME.findall(text):
        yield from found


def _page_names(path: Path) -> Iterator[str]:
    yield path.stem
    text = re.sub(r"{#.*?#}|{{.*?}}", " ", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for values, attribute, block in HTML_NAME.findall(text):
        yield attribute
        yield block
        if "{%" not in values:
            yield from values.split()


@cache
def defined() -> dict[str, set[str]]:
    """Each word that names are made of, and where: ``file: name``."""
    found: dict[str, set[str]] = {}
    readers = [
        *((path, _python_names) for top in PYTHON for path in (ROOT / top).rglob("*.py")),
        *((path, _script_names) for path in (STATIC / "tds_new" / "js").rglob("*.js")),
        *((path, _script_names) for path in (ROOT / "tests" / "js").rglob("*.js")),
        *((path, _style_names) for path in STATIC.rglob("*.css")),
        *((path, _page_names) for path in TEMPLATES.rglob("*.html")),
        *(
            (path, lambda path: _sql_names(path.read_text(encoding="utf-8")))
            for path in STATEMENTS.rglob("*.sql")
        ),
    ]
    for path, names in readers:
        if "migrations" in path.relative_to(ROOT).parts[:2]:
            continue  # history
        for name in names(path):
            for word in parts(name):
                found.setdefault(word, set()).add(f"{path.relative_to(ROOT)}: {name}")
    return found


def _plain(word: str) -> str:
    """A Portuguese word as names spell it: without accents."""
    return unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode().lower()


@cache
def terms() -> frozenset[str]:
    """The schema's words, one and several of each, out of the glossary's first table."""
    table = GLOSSARY.read_text(encoding="utf-8").partition("## Terms of the schema")[2].partition("\n## ")[0]
    cells = (line.split("|")[1] for line in table.splitlines() if line.startswith("| "))
    words = {word for cell in cells for word in re.findall(r"[a-z]+", _plain(cell))}
    several = {re.sub("ao$", "oes", re.sub("m$", "n", word)) for word in words}
    return frozenset(words | {f"{word}s" for word in words | several} | several)


@cache
def english() -> frozenset[str]:
    """The kept list of English words."""
    return frozenset(WORDS.read_text(encoding="utf-8").split())


def test_every_part_of_a_name_is_a_term_of_the_schema_or_an_english_word() -> None:
    unknown = {
        word: sorted(where)[:2] for word, where in defined().items() if word not in terms() | english()
    }
    assert unknown == {}, (
        "put the schema's words into docs/glossary.md, English ones into tests/english_words.txt"
    )


def test_the_list_of_english_words_holds_no_word_that_no_name_has() -> None:
    assert english() - defined().keys() == set(), "delete these from tests/english_words.txt"


def test_the_list_of_english_words_is_sorted_and_repeats_nothing_of_the_glossary() -> None:
    words = WORDS.read_text(encoding="utf-8").split()
    assert words == sorted(set(words))
    assert english() & terms() == set(), "delete these from tests/english_words.txt"
