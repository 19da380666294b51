"""Migrations are history: they do for every installation what they did for the first."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tds_new import migrations

FOLDER = Path(migrations.__file__).parent
OURS = {"tds_new", "lab", "prj_tds_new"}
FROZEN = "tds_new.migrations._"
# Ways of importing that do not stand in an import statement.
DYNAMIC = {"import_module", "import_string", "__import__", "importlib", "runpy", "exec", "eval"}


def _imports(tree: ast.Module) -> Iterator[str]:
    """The full name of everything that a module imports; dynamic imports by the name of the function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = "tds_new.migrations." if node.level else ""
            yield from (f"{package}{node.module or ''}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Name) and node.id in DYNAMIC:
            yield node.id
        elif isinstance(node, ast.Attribute) and node.attr in DYNAMIC:
            yield node.attr


def _offenders(source: str) -> list[str]:
    return [
        name
        for name in _imports(ast.parse(source))
        if name in DYNAMIC or (name.split(".")[0] in OURS and not name.startswith(FROZEN))
    ]


def test_no_migration_imports_live_code() -> None:
    found = {path.name: _offenders(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.py")}
    assert {name: offenders for name, offenders in found.items() if offenders} == {}


def test_live_code_is_recognised_however_it_is_imported() -> None:
    for source in (
        "import tds_new.models.conta",
        "from tds_new.storage import rollups",
        "from tds_new import storage",
        "from importlib import import_module\nimport_module('tds_new.migrations.0003_consumo_mensal')",
        "from tds_new.migrations import sums",
        "from ..storage import rollups",
    ):
        assert _offenders(source), source
    assert not _offenders("from tds_new.migrations import _sums\nfrom tds_new.migrations._sums import ALL")


def test_models_name_frozen_validators() -> None:
    from tds_new.models import Conta, Gateway

    fields = [Conta._meta.get_field("cnpj"), Conta._meta.get_field("timezone")]
    values = [validator for field in fields for validator in field.deconstruct()[3]["validators"]]
    values.append(Gateway._meta.get_field("aceita_leituras_desde").deconstruct()[3]["default"])
    assert [value.deconstruct()[0].rpartition(".")[0] for value in values] == [FROZEN + "validators"] * 3
