"""A run's own database."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from tds_new.embedded.postgres import Binaries, PostgresServer, find_binaries


class NoDatabaseError(Exception):
    """The run has no database; the text says why."""


@contextmanager
def open_database(kind: str = "auto") -> Iterator[str]:
    """The address of a migrated database on a server of its own, removed at the end. Raises NoDatabaseError."""
    binaries = _choose(kind)
    directory = Path(tempfile.mkdtemp(prefix="tds-new-fuzz-"))
    quiet = {"timescaledb.max_background_workers": "0"} if binaries.timescale else {}
    postgres = PostgresServer(directory / "postgres", binaries, quiet, durable=False)
    try:
        postgres.start("fuzz")
        _migrate(postgres.url("fuzz"), directory)
        yield postgres.url("fuzz")
    finally:
        postgres.stop(immediate=True)
        shutil.rmtree(directory, ignore_errors=True)


def _choose(kind: str) -> Binaries:
    for binaries in sorted(find_binaries(), key=lambda b: not b.timescale):
        if kind == "auto" or binaries.timescale == (kind == "timescale"):
            return binaries
    raise NoDatabaseError(
        f"no PostgreSQL of the kind {kind} was found; install one, or choose another with --database"
    )


def _migrate(url: str, directory: Path) -> None:
    own = ("MQTT_", "TDS_", "DATABASE_", "SECRET_KEY")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    environment = {
        **kept,
        "DATABASE_URL": url,
        "SECRET_KEY": secrets.token_urlsafe(50),
        "TDS_DATA_DIR": str(directory / "var"),
    }
    command = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), "migrate", "--verbosity", "0"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoDatabaseError(f"the schema could not be installed: {done.stderr[-800:]}")
