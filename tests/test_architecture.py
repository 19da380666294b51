"""The design's rules, read from the source: which package imports which, and who may write readings.

One test is one rule; its message names the offenders.
"""

import ast
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from tests.support.paths import ROOT

TOPS = ("tds_new", "prj_tds_new", "lab")
LONGEST_FIRST_LINE = 80
READINGS, BLOCKS = "tds_new_leitura_dispositivo", "tds_new_consumo_15min"
ORM_WRITES = {
    *("create", "acreate", "bulk_create", "abulk_create", "get_or_create", "update_or_create"),
    *("update", "bulk_update", "delete"),
}
WRITING_SQL = {
    table: re.compile(
        rf"\b(INSERT\s+INTO|UPDATE|DELETE\s+FROM|COPY|MERGE\s+INTO|TRUNCATE(\s+TABLE)?)\s+{table}\b",
        re.IGNORECASE,
    )
    for table in (READINGS, BLOCKS)
}

# The laboratory's programs that fill databases of their own.
FILL_THEIR_OWN = ("lab.benchmarks.history", "lab.benchmarks.dataset")
# Retention drops what is too old.
READING_WRITERS = (
    *("tds_new.ingestion.store", "tds_new.maintenance.retention", "tds_new.migrations"),
    *FILL_THEIR_OWN,
)
# A trigger writes a device's blocks again as they are, so that the sums of its Conta follow its new quantity.
BLOCK_WRITERS = ("tds_new.metering.store", "tds_new.migrations", *FILL_THEIR_OWN)
PURE = ("tds_new.ingestion.payload", "tds_new.ingestion.message", "tds_new.ingestion.refusal")
IMPURE = ("django", "paho", "psycopg", "tds_new.models", "prj_tds_new")
FORBIDDEN = {
    "tds_new.web": (
        *("tds_new.ingestion.store", "tds_new.ingestion.transport"),
        "tds_new.ingestion.telemetry_processor",
    ),
    "tds_new.queries": (
        *("tds_new.ingestion", "tds_new.web", "tds_new.admin"),
        # The read path meets the ledger in the database; it knows only the names of the rules.
        *(f"tds_new.metering.{part}" for part in ("inputs", "ledger", "preview", "queue", "store", "worker")),
    ),
    "tds_new.ingestion": (
        *("tds_new.web", "tds_new.queries", "tds_new.admin", "tds_new.management", "tds_new.embedded"),
    ),
    "tds_new.models": (
        *("tds_new.ingestion", "tds_new.web", "tds_new.queries", "tds_new.admin", "tds_new.management"),
    ),
    "tds_new.admin": (
        *("tds_new.web", "tds_new.ingestion.store", "tds_new.ingestion.transport"),
        # Of the ledger the admin knows only the preview of what a decision would do.
        *(f"tds_new.metering.{part}" for part in ("inputs", "ledger", "queue", "rules", "store", "worker")),
    ),
    "tds_new.metering.rules": (
        *("django", "psycopg", "tds_new.models", "tds_new.storage"),
        *(f"tds_new.metering.{part}" for part in ("inputs", "ledger", "queue", "store", "worker")),
    ),
    "tds_new": ("lab",),
    "prj_tds_new": ("lab",),
}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for top in TOPS for path in sorted((ROOT / top).rglob("*.py"))}


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


@cache
def imports(module: str) -> frozenset[str]:
    """Return every module that ``module`` imports, also inside functions.

    A name imported from a package counts as the module of that name where there is one.
    """
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found.update(
                f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names
            )
    return frozenset(found)


def none(offenders: Iterable[str]) -> None:
    """Fail and name every offender where there is one."""
    if found := sorted(offenders):
        pytest.fail("\n".join(["these break the rule:", *found]), pytrace=False)


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def reached_from(module: str) -> set[str]:
    """Return everything of ours that an import of ``module`` loads, the ``__init__`` of its packages too."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        parents = [".".join(name.split(".")[:n]) for n in range(1, name.count(".") + 1)]
        new = {*imports(name), *(p for p in parents if p in MODULES)} if name in MODULES else set()
        waiting.extend(new - seen)
        seen |= new
    return seen


def _package(module: str) -> str:
    """Return ``tds_new.web`` for everything in it; a module directly in ``tds_new`` stands for itself."""
    return ".".join(module.split(".")[:2])


@cache
def _strings(module: str) -> tuple[str, ...]:
    """Return a module's string literals without its docstrings; of f-strings the constant parts."""
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return tuple(
        node.value
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
    )


def _orm_writes(module: str, model: str) -> list[str]:
    """Return the writing calls that start from ``model``: ``LeituraDispositivo.objects....create(...)``."""
    calls = [
        node.func
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    return [ast.unparse(call) for call in calls if call.attr in ORM_WRITES and _root(call) == model]


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _writes(modules: Iterable[str], model: str, table: str) -> list[str]:
    """Return where these modules write a table, through its model or in SQL: ``module: what``."""
    return [
        f"{module}: {found}"
        for module in modules
        for found in (
            *_orm_writes(module, model),
            *(text for text in _strings(module) if WRITING_SQL[table].search(text)),
        )
    ]


def test_every_module_is_looked_at() -> None:
    assert {
        *("tds_new.ingestion.store", "tds_new.ingestion.payload", "tds_new.models", "prj_tds_new.settings"),
        *FILL_THEIR_OWN,
    } <= MODULES.keys()
    packages = ("tds_new.ingestion.transport", "tds_new.queries", "tds_new.web", "lab.management")
    none(package for package in packages if not any(within(module, package) for module in MODULES))


def test_only_the_transport_knows_paho() -> None:
    strangers = [module for module in MODULES if not within(module, "tds_new.ingestion.transport")]
    none(module for module in strangers if any(within(name, "paho") for name in imports(module)))


def test_parsing_is_pure() -> None:
    impure = [
        f"{module} > {name}" for module in PURE for name in reached_from(module) if within(name, *IMPURE)
    ]
    none(impure)


def test_a_package_does_not_know_what_is_on_the_other_side() -> None:
    broken = [
        f"{module} > {name}"
        for package, strangers in FORBIDDEN.items()
        for module in MODULES
        if within(module, package)
        for name in imports(module)
        if within(name, *strangers)
    ]
    none(broken)


def test_only_the_store_writes_readings() -> None:
    others = [module for module in MODULES if not within(module, *READING_WRITERS)]
    none(_writes(others, "LeituraDispositivo", READINGS))
    stores = [module for module in MODULES if within(module, "tds_new.ingestion.store")]
    assert _writes(stores, "LeituraDispositivo", READINGS), "the rule no longer finds what it looks for"


def test_only_the_ledger_writes_blocks() -> None:
    others = [module for module in MODULES if not within(module, *BLOCK_WRITERS)]
    none(_writes(others, "ConsumoBloco", BLOCKS))
    ledger = [module for module in MODULES if within(module, BLOCK_WRITERS[0])]
    assert _writes(ledger, "ConsumoBloco", BLOCKS), "the rule no longer finds what it looks for"


def test_pages_and_commands_read_readings_through_the_queries() -> None:
    readers = [
        module
        for module in MODULES
        if within(module, "tds_new.web", "tds_new.admin", "tds_new.management", "lab.management")
    ]
    by_name = [
        f"{module}: {node.id}"
        for module in readers
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.Name) and node.id in ("LeituraDispositivo", "ConsumoMensal")
    ]
    by_table = [
        f"{module}: {text}"
        for module in readers
        for text in _strings(module)
        if READINGS in text or "tds_new_consumo_mensal" in text
    ]
    none(by_name + by_table)


def _circles(knows: dict[str, set[str]]) -> list[str]:
    """Return the circles of a graph: it without nodes that lead only in or only out."""
    left = {name: known - {name} for name, known in knows.items()}
    before = -1
    while before != len(left):
        before = len(left)
        known_by_others = {other for known in left.values() for other in known}
        left = {name: known & left.keys() for name, known in left.items() if name in known_by_others}
        left = {name: known for name, known in left.items() if known & left.keys()}
    return [f"{name} > {other}" for name, known in left.items() for other in known & left.keys()]


def test_no_circle_of_packages() -> None:
    knows: dict[str, set[str]] = {}
    for module in MODULES:
        targets = {_package(name) for name in imports(module) if name in MODULES and name.count(".")}
        knows.setdefault(_package(module), set()).update(targets)
    none(_circles(knows))


def test_no_circle_of_modules() -> None:
    """Imports inside functions count too; the ``__init__`` of a package counts as a module."""
    knows = {module: {name for name in imports(module) if name in MODULES} for module in MODULES}
    none(_circles(knows))


def _docstrings(module: str) -> list[tuple[int, str]]:
    """Return each docstring of a module, as it is written, with its line."""
    return [
        (node.body[0].lineno, node.body[0].value.value)
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
        and isinstance(node.body[0].value, ast.Constant)
        and isinstance(node.body[0].value.value, str)
    ]


def test_a_docstring_opens_with_a_short_sentence() -> None:
    long = [
        f"{MODULES[module].relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for module in MODULES
        if not within(module, "tds_new.migrations.0001_initial")
        for line, text in _docstrings(module)
        if not (first := text.partition("\n")[0]).endswith((".", "?")) or len(first) > LONGEST_FIRST_LINE
    ]
    none(long)


PACKAGES = [module for module, path in MODULES.items() if path.name == "__init__.py"]


def _may_import(package: str) -> set[str] | None:
    """Return the modules that a package's docstring lets it import; None if it does not say."""
    said = re.search(r"^May import: (.+?)\.(?:\s|$)", ast.get_docstring(_tree(package)) or "", re.M | re.S)
    if said is None:
        return None
    names = [name.strip() for name in said[1].split(",") if said[1] != "nothing"]
    return {name if name.split(".")[0] in TOPS else f"tds_new.{name}" for name in names}


def test_each_package_says_what_it_does_and_what_it_may_import() -> None:
    missing = [
        f"{package}: {line}"
        for package in PACKAGES
        for line in ("Enters: ", "Leaves: ", "May import: ")
        if f"\n{line}" not in (ast.get_docstring(_tree(package)) or "")
    ]
    unknown = [
        f"{package}: {name}"
        for package in PACKAGES
        for name in _may_import(package) or ()
        if name not in MODULES
    ]
    none(missing + unknown)


def test_each_package_imports_only_what_it_says() -> None:
    broken = [
        f"{module} > {name}"
        for module in MODULES
        for package in [module if module in PACKAGES else module.rpartition(".")[0]]
        for name in imports(module)
        if name in MODULES and not within(name, package, *(_may_import(package) or ()))
    ]
    none(broken)
