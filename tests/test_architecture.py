"""The design's directions, read from the imports: who may know whom, and who may write readings."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.support.paths import ROOT

READINGS, BLOCKS = "tds_new_leitura_dispositivo", "tds_new_consumo_15min"
WRITES = {
    "create",
    "acreate",
    "bulk_create",
    "abulk_create",
    "get_or_create",
    "update_or_create",
    "update",
    "bulk_update",
    "delete",
}
WRITING_SQL = {
    table: re.compile(
        rf"\b(INSERT\s+INTO|UPDATE|DELETE\s+FROM|COPY|MERGE\s+INTO|TRUNCATE(\s+TABLE)?)\s+{table}\b",
        re.IGNORECASE,
    )
    for table in (READINGS, BLOCKS)
}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    _name(path): path for top in ("tds_new", "prj_tds_new") for path in sorted((ROOT / top).rglob("*.py"))
}


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


@cache
def imports(module: str) -> frozenset[str]:
    """Every module that ``module`` imports, late imports included; names imported out of a package count as its modules."""
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


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def reached_from(module: str) -> set[str]:
    """Everything that importing ``module`` brings in, as far as our own code leads; its packages' ``__init__`` too."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        parents = [".".join(name.split(".")[:n]) for n in range(1, name.count(".") + 1)]
        new = {*imports(name), *(p for p in parents if p in MODULES)} if name in MODULES else set()
        waiting.extend(new - seen)
        seen |= new
    return seen


def test_every_module_is_looked_at() -> None:
    assert {
        "tds_new.ingestion.store",
        "tds_new.ingestion.payload",
        "tds_new.models",
        "prj_tds_new.settings",
    } <= MODULES.keys()
    assert any(within(module, "tds_new.ingestion.transport") for module in MODULES)
    assert any(within(module, "tds_new.queries") for module in MODULES)
    assert any(within(module, "tds_new.web") for module in MODULES)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_the_transport_knows_paho(module: str) -> None:
    knows = any(within(name, "paho") for name in imports(module))
    assert not knows or within(module, "tds_new.ingestion.transport")


@pytest.mark.parametrize(
    "module", ["tds_new.ingestion.payload", "tds_new.ingestion.message", "tds_new.ingestion.refusal"]
)
def test_parsing_is_pure(module: str) -> None:
    impure = {
        name
        for name in reached_from(module)
        if within(name, "django", "paho", "psycopg", "tds_new.models", "prj_tds_new")
    }
    assert impure == set()


FORBIDDEN = [
    (
        "tds_new.web",
        ("tds_new.ingestion.store", "tds_new.ingestion.transport", "tds_new.ingestion.telemetry_processor"),
    ),
    ("tds_new.queries", ("tds_new.ingestion", "tds_new.web", "tds_new.admin")),
    (
        "tds_new.ingestion",
        ("tds_new.web", "tds_new.queries", "tds_new.admin", "tds_new.management", "tds_new.embedded"),
    ),
    (
        "tds_new.models",
        ("tds_new.ingestion", "tds_new.web", "tds_new.queries", "tds_new.admin", "tds_new.management"),
    ),
    ("tds_new.admin", ("tds_new.web", "tds_new.ingestion.store", "tds_new.ingestion.transport")),
]


@pytest.mark.parametrize(("package", "strangers"), FORBIDDEN, ids=[package for package, _ in FORBIDDEN])
def test_a_package_does_not_know_what_is_on_the_other_side(package: str, strangers: tuple[str, ...]) -> None:
    broken = {
        (module, name)
        for module in MODULES
        if within(module, package)
        for name in imports(module)
        if within(name, *strangers)
    }
    assert broken == set()


def _strings(module: str) -> list[str]:
    """The literals of a module, with what f-strings put between them left out, and documentation left out."""
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
    ]


def _orm_writes(module: str, model: str) -> list[str]:
    """Calls that write and start from ``model``: ``LeituraDispositivo.objects....create(...)``."""
    calls = [
        node.func
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    return [ast.unparse(call) for call in calls if call.attr in WRITES and _root(call) == model]


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


OWN = ("lab.benchmarks.history", "lab.benchmarks.dataset")  # they fill databases of their own
WRITERS = (
    "tds_new.ingestion.store",
    "tds_new.maintenance.retention",
    "tds_new.migrations",
    *OWN,
)  # retention drops what is too old


@pytest.mark.parametrize("module", sorted(name for name in MODULES if not within(name, *WRITERS)))
def test_only_the_store_writes_readings(module: str) -> None:
    assert _orm_writes(module, "LeituraDispositivo") == []
    assert [text for text in _strings(module) if WRITING_SQL[READINGS].search(text)] == []


def test_the_store_does_write_readings() -> None:
    stores = [module for module in MODULES if within(module, "tds_new.ingestion.store")]
    assert any(WRITING_SQL[READINGS].search(text) for module in stores for text in _strings(module))


# A trigger writes a device's blocks again as they are, so that the sums of its Conta follow its new quantity.
BLOCK_WRITERS = ("tds_new.metering.tables", "tds_new.migrations", *OWN)


@pytest.mark.parametrize("module", sorted(name for name in MODULES if not within(name, *BLOCK_WRITERS)))
def test_only_the_ledger_writes_blocks(module: str) -> None:
    assert _orm_writes(module, "ConsumoBloco") == []
    assert [text for text in _strings(module) if WRITING_SQL[BLOCKS].search(text)] == []


def test_the_ledger_does_write_blocks() -> None:
    assert any(WRITING_SQL[BLOCKS].search(text) for text in _strings("tds_new.metering.tables"))


@pytest.mark.parametrize(
    "module",
    sorted(name for name in MODULES if within(name, "tds_new.web", "tds_new.admin", "tds_new.management")),
)
def test_pages_and_commands_read_readings_through_the_queries(module: str) -> None:
    names = {node.id for node in ast.walk(_tree(module)) if isinstance(node, ast.Name)}
    assert not names & {"LeituraDispositivo", "ConsumoMensal"}
    assert not any(READINGS in text or "tds_new_consumo_mensal" in text for text in _strings(module))


def _package(module: str) -> str:
    """``tds_new.web`` for everything in it; a module directly in ``tds_new`` stands for itself."""
    return ".".join(module.split(".")[:2])


def test_no_circle_of_packages() -> None:
    knows: dict[str, set[str]] = {}
    for module in MODULES:
        targets = {_package(name) for name in imports(module) if name in MODULES and name.count(".")}
        knows.setdefault(_package(module), set()).update(targets - {_package(module)})
    while free := [package for package, known in knows.items() if not known & knows.keys()]:
        for package in free:
            del knows[package]
    assert knows == {}, "these import each other in a circle"
