"""The production image: it has no laboratory, and works without it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.once

LAB_COMMANDS = {path.stem for path in (ROOT / "lab/management/commands").glob("[!_]*.py")}
Manage = Callable[..., str]


def copied_into_the_image() -> list[str]:
    """Paths that the Dockerfile copies and .dockerignore lets in."""
    copied = re.findall(
        r"^COPY (?!--from)(\S+) ", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE
    )
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [name for name in copied if f"!{name}" in allowed]


@pytest.fixture
def manage(tmp_path: Path) -> Manage:
    """Run a management command on a copy of what the image has; returns what it says."""
    for name in copied_into_the_image():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words: str) -> str:
        command = [sys.executable, "manage.py", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_image_has_the_product_alone() -> None:
    assert {"manage.py", "prj_tds_new", "tds_new"} <= set(copied_into_the_image())
    assert "lab" not in copied_into_the_image()


def test_without_the_laboratory_everything_else_works(manage: Manage) -> None:
    assert "no issues" in manage("check")
    commands = set(manage("help", "--commands").split())
    assert {"start_mqtt_consumer", "process_consumption", "demo"} <= commands
    assert not commands & LAB_COMMANDS


def test_a_checkout_has_the_laboratory() -> None:
    words = [sys.executable, "manage.py", "help", "--commands"]
    commands = set(subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())
    assert commands >= LAB_COMMANDS >= {"torture_ingest", "fuzz_ingest", "benchmark_ingest"}
