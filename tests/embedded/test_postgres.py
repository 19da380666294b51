"""The embedded PostgreSQL starts from nothing, finds its data again, and recovers from every kind of end."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest

from tds_new.embedded import child
from tds_new.embedded.ports import first_free, free_port, is_free
from tds_new.embedded.postgres import (
    AlreadyRunning,
    Binaries,
    PostgresError,
    PostgresServer,
    find_binaries,
)
from tests.support.paths import ROOT

pytestmark = pytest.mark.once


def write(server: PostgresServer) -> None:
    with psycopg.connect(server.url()) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS marker (n int)")
        connection.execute("INSERT INTO marker VALUES (1)")


def count(server: PostgresServer) -> int:
    with psycopg.connect(server.url()) as connection:
        row = connection.execute("SELECT count(*) FROM marker").fetchone()
    assert row is not None
    return int(row[0])


def test_second_start_finds_the_data_on_the_same_port(own_postgres: PostgresServer) -> None:
    write(own_postgres)
    port = own_postgres.port
    own_postgres.stop()
    own_postgres.start()
    assert (count(own_postgres), own_postgres.port) == (1, port)


def test_another_port_is_taken_where_the_old_one_is_in_use(own_postgres: PostgresServer) -> None:
    port = own_postgres.port
    own_postgres.stop()
    with socket.create_server(("127.0.0.1", port)):
        own_postgres.start()
        assert own_postgres.port != port


def test_wrong_password_is_refused(own_postgres: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(own_postgres.url().replace(":" + own_postgres._password, ":wrong"))


def test_committed_data_survives_a_kill_of_the_server(own_postgres: PostgresServer) -> None:
    write(own_postgres)
    assert own_postgres.pid is not None
    os.kill(own_postgres.pid, signal.SIGKILL)
    assert own_postgres._process is not None
    own_postgres._process.wait()
    own_postgres.stop()
    own_postgres.start()
    assert count(own_postgres) == 1


def test_one_directory_has_one_owner(own_postgres: PostgresServer) -> None:
    second = PostgresServer(own_postgres.directory, own_postgres.binaries)
    with pytest.raises(AlreadyRunning, match=str(os.getpid())):
        second.start()


def test_the_server_ends_with_a_killed_parent_and_the_next_start_has_its_data(
    tmp_path: Path, postgres_binaries: Binaries
) -> None:
    program = f"""
import time, psycopg
from pathlib import Path
from tds_new.embedded.postgres import Binaries, PostgresServer
binaries = Binaries(Path({str(postgres_binaries.directory)!r}), {postgres_binaries.major}, False)
server = PostgresServer(Path({str(tmp_path / "pg")!r}), binaries)
server.start()
with psycopg.connect(server.url()) as c:
    c.execute("CREATE TABLE marker (n int)")
    c.execute("INSERT INTO marker VALUES (1)")
print("ready", flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    parent.kill()
    parent.wait()
    parent.stdout.close()
    with PostgresServer(
        tmp_path / "pg", postgres_binaries
    ) as server:  # waits until the orphan has stopped in order
        assert count(server) == 1


def test_a_process_id_that_now_belongs_to_another_program_is_no_obstacle(
    own_postgres: PostgresServer,
) -> None:
    write(own_postgres)
    own_postgres.stop()
    (own_postgres.data / "postmaster.pid").write_text(
        f"{os.getppid()}\n{own_postgres.data}\n", encoding="ascii"
    )
    own_postgres.start()
    assert count(own_postgres) == 1


def test_an_interrupted_first_start_is_begun_again(tmp_path: Path, postgres_binaries: Binaries) -> None:
    half = tmp_path / "pg" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("half", encoding="ascii")
    with PostgresServer(tmp_path / "pg", postgres_binaries) as server:
        write(server)


def test_data_of_another_version_is_named_and_left_alone(own_postgres: PostgresServer) -> None:
    own_postgres.stop()
    (own_postgres.data / "PG_VERSION").write_text("9\n", encoding="ascii")
    with pytest.raises(PostgresError, match="made by PostgreSQL 9"):
        own_postgres.start()


def test_a_server_that_cannot_start_says_why(tmp_path: Path, postgres_binaries: Binaries) -> None:
    server = PostgresServer(tmp_path / "pg", postgres_binaries, {"shared_buffers": "nonsense"})
    with pytest.raises(PostgresError, match="shared_buffers"):
        server.start()
    assert server.pid is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to give up root")
@pytest.mark.parametrize("identity", ["nobody", "namespace"])
def test_root_runs_the_server_as_nobody_in_a_closed_directory(
    tmp_path: Path, postgres_binaries: Binaries, identity: child.Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    if identity == "namespace" and child.unprivileged_identity() != "namespace":
        pytest.skip("user namespaces are forbidden here")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with PostgresServer(closed / "pg", postgres_binaries) as server:
        write(server)
    # This changes the owner where a server with another identity has made the files.
    monkeypatch.setattr(child, "unprivileged_identity", lambda *_paths: identity)
    with PostgresServer(closed / "pg", postgres_binaries) as server:
        assert count(server) == 1
        status = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
        assert f"Uid:\t{65534 if identity == 'nobody' else 0}" in status
    assert closed.stat().st_mode & 0o777 == 0o700


WITHOUT_NAMESPACES = """
import sys
from pathlib import Path
import psycopg
from tds_new.embedded.postgres import Binaries, PostgresServer
from tests.support.namespaces import forbid_namespaces

forbid_namespaces()
with PostgresServer(Path(sys.argv[1]), Binaries(Path(sys.argv[2]), int(sys.argv[3]), False)) as server:
    with psycopg.connect(server.url()) as connection:
        connection.execute("CREATE TABLE marker (n int)")
    print([line for line in Path(f"/proc/{server.pid}/status").read_text().splitlines() if "Uid:" in line])
"""


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


@pytest.mark.servers
@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to give up root")
@pytest.mark.parametrize("origin", ["wheel", "system"])
def test_root_without_namespaces_runs_each_postgresql_in_a_closed_directory(
    tmp_path: Path, origin: str
) -> None:
    wheel = [binaries for binaries in find_binaries() if "site-packages" in binaries.directory.parts]
    found = wheel if origin == "wheel" else [each for each in find_binaries() if each not in wheel]
    if not found:
        pytest.skip(f"no PostgreSQL of the {origin} here")
    closed, directory = tmp_path / "closed", found[0].directory
    closed.mkdir(mode=0o700)
    if origin == "wheel":  # it lies in .venv with its libraries beside it, so in the closed directory too
        package = directory.parents[1]
        for each in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(each, closed / each.name, symlinks=True, copy_function=link_or_copy)
        directory = closed / directory.relative_to(package.parent)
    command = [sys.executable, "-c", WITHOUT_NAMESPACES, closed / "pg", directory, str(found[0].major)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, "65534" in done.stdout) == (0, True), done.stdout + done.stderr
    assert closed.stat().st_mode & 0o777 == 0o700


def test_children_are_started_from_the_main_thread_only() -> None:
    raised: list[BaseException] = []

    def start() -> None:
        try:
            child.spawn(["true"])
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert len(raised) == 1


def test_a_free_port_is_free() -> None:
    port = free_port()
    assert is_free(port)
    assert first_free(port) == port
