"""Chart.js: brought from where the lock files say, and nothing else in its place."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.once


@pytest.fixture
def assets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("assets", ROOT / "tools/assets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "TARGET", tmp_path / "vendor/chart.umd.js")
    return module


def test_the_source_map_that_is_not_shipped_is_not_named(
    assets: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        assets, "from_npm", lambda: "/*! Chart.js v4.6.1 */\ncode\n//# sourceMappingURL=chart.umd.js.map\n"
    )
    assert assets.main() == 0
    assert assets.TARGET.read_text(encoding="utf-8") == "/*! Chart.js v4.6.1 */\ncode\n"


def test_npm_is_not_asked_for_the_packages_of_the_checks(
    assets: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    npm = tmp_path / "npm"
    npm.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nmkdir -p node_modules/chart.js/dist\n'
        "echo '/*! Chart.js v4.6.1 */' > node_modules/chart.js/dist/chart.umd.js\n",
        encoding="ascii",
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for name in ("package.json", "package-lock.json"):
        (tmp_path / name).write_text("{}", encoding="ascii")

    assert assets.main() == 0

    assert {"ci", "--omit=dev"} <= set((tmp_path / "asked").read_text(encoding="ascii").split())


def test_without_npm_it_comes_from_the_wheel(assets: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(assets, "from_wheel", lambda: 'x.static version="4.4.0";')
    assert assets.main() == 0
    assert assets.TARGET.exists()


def test_something_else_is_refused_and_the_old_file_stays(
    assets: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets.TARGET.parent.mkdir()
    assets.TARGET.write_text("old", encoding="utf-8")
    monkeypatch.setattr(assets, "from_npm", lambda: "/*! Chart.js v3.9.1 */")
    assert assets.main() == 1
    assert assets.TARGET.read_text(encoding="utf-8") == "old"


def test_make_refuses_an_old_python_in_words(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "raise SystemExit(1)"\n', encoding="ascii")
    old.chmod(0o755)
    command = [
        "make",
        "--no-print-directory",
        f"PYTHON={old}",
        f"VENV={tmp_path / 'venv'}",
        str(tmp_path / "venv/bin/python"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "older than Python 3.11" in done.stdout
