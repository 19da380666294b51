"""Commands without a database: one line that says what to do, and no traceback."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.db import OperationalError

from tds_new.management import away

pytestmark = pytest.mark.once
COMMANDS = (
    "check_telemetry",
    "check_consumer",
    "process_consumption --once",
    "rebuild_consumption",
    "run_maintenance",
    "apply_retention",
    "create_demo_data",
    "provision_broker --directory broker",
    "migrate",
)


def run(command: str, folder: Path, **environment: str) -> tuple[int, str]:
    """The exit status and standard error, in an environment that has only this."""
    quiet = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DATABASE_", "TDS_", "MQTT_", "SECRET_KEY"))
    }
    done = subprocess.run(
        [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), *command.split()],
        cwd=folder,
        env={
            **quiet,
            "TDS_DATA_DIR": str(folder),
            "TDS_RAW_RETENTION_DAYS": "30",
            "SECRET_KEY": "x" * 50,
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_without_the_embedded_database_a_command_says_how_to_start_it(command: str, tmp_path: Path) -> None:
    said = "[ERROR] no database to work on: start `make run` in another terminal, or set DATABASE_URL\n"
    assert run(command, tmp_path) == (1, said)


def test_a_configured_database_that_is_away_is_named_without_its_password(tmp_path: Path) -> None:
    status, said = run("run_maintenance", tmp_path, DATABASE_URL="postgres://tds:segredo@127.0.0.1:9/medidas")
    assert (status, said.count("\n")) == (1, 1)
    assert said.startswith("[ERROR] the database medidas at 127.0.0.1, port 9, cannot be reached (")
    assert said.endswith("Connection refused): start it, or correct DATABASE_URL\n")
    assert "segredo" not in said


def test_whoever_asks_for_the_traceback_gets_it(tmp_path: Path) -> None:
    status, said = run("check_telemetry --traceback", tmp_path)
    assert status == 1
    assert "Traceback" in said


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (psycopg.OperationalError("consuming input failed: server closed the connection unexpectedly"), True),
        (psycopg.errors.AdminShutdown("terminating connection"), True),
        (psycopg.errors.QueryCanceled("statement timeout"), False),
        (psycopg.errors.DiskFull("no space left"), False),
        (psycopg.errors.UndefinedTable("no such relation"), False),
        (ValueError("something of ours"), False),
    ],
)
def test_only_a_database_that_is_away_is_called_so(cause: Exception, expected: bool) -> None:
    wrapped = OperationalError(str(cause))
    wrapped.__cause__ = cause
    assert away.is_away(cause) == away.is_away(wrapped) == expected
