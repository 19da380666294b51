"""Compose file, image, units, scripts and the example of the settings agree with each other."""

import ast
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tds_new.ingestion.supervision import STUCK_AFTER, WATCHDOG_INTERVAL
from tds_new.storage.session import SESSION_OPTIONS
from tests.support.paths import ROOT

INFRASTRUCTURE = ROOT / "infrastructure"
COMPOSE = INFRASTRUCTURE / "docker-compose.yml"
UNITS = sorted((INFRASTRUCTURE / "systemd").glob("*.service"))
ENTRY_SCRIPTS = [
    INFRASTRUCTURE / "setup.sh",
    INFRASTRUCTURE / "manage.sh",
    INFRASTRUCTURE / "postgres" / "create_owner.sh",
]
pytestmark = pytest.mark.once


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
        **options,
    )


def has_compose() -> bool:
    return shutil.which("docker") is not None and run("docker", "compose", "version").returncode == 0


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return loaded


class TestCompose:
    @pytest.mark.skipif(not has_compose(), reason="docker compose is not installed here")
    def test_compose_takes_the_file(self) -> None:
        result = run("docker", "compose", "--file", COMPOSE, "--profile", "dev", "config", "--quiet")
        assert (result.returncode, result.stderr) == (0, "")

    def test_every_file_it_names_is_there(self, compose: dict[str, Any]) -> None:
        binds = [
            v.split(":")[0]
            for s in compose["services"].values()
            for v in s.get("volumes", [])
            if v.startswith(".")
        ]
        assert binds
        assert [bind for bind in binds if not (INFRASTRUCTURE / bind).is_file()] == []

    def test_the_platforms_own_listener_is_in_a_network_of_the_platform_alone(
        self, compose: dict[str, Any]
    ) -> None:
        services = compose["services"]
        assert compose["networks"]["broker"] == {"internal": True}
        inside = {name for name, service in services.items() if "broker" in service["networks"]}
        assert inside == {"mosquitto", "consumer"}
        assert [name for name, service in services.items() if "field" in service["networks"]] == ["mosquitto"]
        published = [port for service in services.values() for port in service.get("ports", [])]
        assert [port for port in published if "1884" in port] == []

    def test_websockets_are_published_only_where_they_are_on(self, compose: dict[str, Any]) -> None:
        template = compose["services"]["mosquitto"]["extends"]["file"]
        assert "${TDS_MQTT_WEBSOCKETS:-off}" in template
        setup = compose["services"]["setup"]["environment"]
        assert setup["TDS_MQTT_WEBSOCKETS"] == "${TDS_MQTT_WEBSOCKETS:-off}"
        ports = {}
        for state in ("on", "off"):
            path = INFRASTRUCTURE / template.replace("${TDS_MQTT_WEBSOCKETS:-off}", state)
            service = yaml.safe_load(path.read_text(encoding="utf-8"))["services"]["mosquitto"]
            ports[state] = service.get("ports", [])
        assert ports == {"on": ["${TDS_MQTT_WEBSOCKETS_BIND:-127.0.0.1:9001}:9001"], "off": []}

    def test_setup_makes_every_secret_it_names(self, compose: dict[str, Any]) -> None:
        made = set(
            re.findall(
                r"^keep_or_make (\w+)",
                (INFRASTRUCTURE / "setup.sh").read_text(encoding="utf-8"),
                re.MULTILINE,
            )
        )
        assert {Path(secret["file"]).name for secret in compose["secrets"].values()} == made

    def test_images_are_pinned(self, compose: dict[str, Any]) -> None:
        images = [s["image"] for s in compose["services"].values() if "build" not in s]
        assert len(images) == 3
        assert [image for image in images if not re.search(r":\d+\.\d+(\.\d+)?(-\w+)?$", image)] == []

    def test_nothing_listens_beyond_this_machine_unless_asked_to(self, compose: dict[str, Any]) -> None:
        ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
        assert len(ports) == 3
        assert [port for port in ports if not re.match(r"(\$\{\w+:-)?127\.0\.0\.1:", port)] == []

    def test_what_runs_for_long_is_watched_restarted_limited_and_cannot_gain_rights(
        self, compose: dict[str, Any]
    ) -> None:
        for name, service in compose["services"].items():
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert service["cap_drop"] == ["ALL"], name
            assert service["deploy"]["resources"]["limits"].keys() == {"memory", "pids"}, name
            assert service["logging"]["options"]["max-size"], name
            if service["restart"] != "no":
                assert service["restart"] == "unless-stopped", name
                assert service["healthcheck"]["test"], name

    def test_no_secret_is_written_in_it(self, compose: dict[str, Any]) -> None:
        for service in compose["services"].values():
            for name, value in service.get("environment", {}).items():
                if re.search("PASSWORD|SECRET|KEY|DATABASE_URL", name):
                    assert value == "" or (name.endswith("_FILE") and value.startswith("/run/")), name


class TestScripts:
    @pytest.mark.parametrize("script", ENTRY_SCRIPTS, ids=lambda script: script.name)
    def test_scripts_parse_and_are_executable(self, script: Path) -> None:
        assert run("sh", "-n", script).returncode == 0
        assert script.stat().st_mode & stat.S_IXUSR

    def test_setup_makes_secrets_once_behind_a_closed_directory(self, tmp_path: Path) -> None:
        script = shutil.copy(INFRASTRUCTURE / "setup.sh", tmp_path)
        assert run("sh", script).returncode == 0
        first = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
        assert run("sh", script).returncode == 0
        assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == first
        assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
        assert (
            first["database_url"].strip()
            == f"postgres://tds_new:{first['tds_new_password'].strip()}@db:5432/tds_new"
        )
        assert all(len(value.strip()) >= 64 for value in first.values())
        assert len(set(first.values())) == 4

    def test_gunicorn_takes_its_configuration(self) -> None:
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "prj_tds_new.settings"}
        gunicorn = [
            sys.executable,
            "-m",
            "gunicorn",
            "--check-config",
            "--config",
            "infrastructure/gunicorn.conf.py",
            "prj_tds_new.wsgi",
        ]
        assert run(*gunicorn, env=environment).returncode == 0

    def test_a_command_on_a_server_gets_its_settings_and_secrets(self, tmp_path: Path) -> None:
        (tmp_path / "secrets").mkdir()
        (tmp_path / "env").write_text("TDS_POLL_SECONDS=77\n")
        (tmp_path / "secrets" / "secret_key").write_text("k" * 50)
        (tmp_path / "secrets" / "database_url").write_text("postgres://tds_new@filehost/tds_new")
        root = tmp_path / "opt"
        (root / ".venv" / "bin").mkdir(parents=True)
        (root / ".venv" / "bin" / "python").symlink_to(sys.executable)
        (root / "infrastructure").mkdir()
        shutil.copy(INFRASTRUCTURE / "manage.sh", root / "infrastructure")
        (root / "manage.py").write_text(
            "import os, sys; "
            "print(sys.argv[1:], *map(os.environ.get, ['TDS_POLL_SECONDS', 'SECRET_KEY_FILE']))"
        )
        result = run(
            root / "infrastructure" / "manage.sh",
            "check",
            "--deploy",
            env={"PATH": os.environ["PATH"], "TDS_ETC": str(tmp_path)},
        )
        assert result.stdout == f"['check', '--deploy'] 77 {tmp_path}/secrets/secret_key\n"


class TestImage:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")

    def test_its_bases_are_pinned_its_packages_hashed_and_nobody_in_it_is_root(self) -> None:
        bases = re.findall(r"^FROM (\S+)", self.dockerfile, re.MULTILINE)
        assert len(bases) == 3
        assert all(re.search(r":\d+\.\d+\.\d+-", base) for base in bases)
        assert "--require-hashes" in self.dockerfile
        assert re.findall(r"^USER (\S+)", self.dockerfile.split("FROM ")[-1], re.MULTILINE) == ["10001:10001"]

    def test_what_it_copies_is_there_and_let_through(self) -> None:
        copied = [
            line.split()[1:-1]
            for line in self.dockerfile.splitlines()
            if line.startswith("COPY ") and "--from" not in line
        ]
        sources = [source for line in copied for source in line]
        let_through = re.findall(
            r"^!(\S+)", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE
        )
        assert [source for source in sources if not (ROOT / source).exists()] == []
        assert sorted(source.removeprefix("./") for source in sources) == sorted(let_through)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
class TestUnits:
    def test_systemd_takes_the_unit(self, unit: Path, tmp_path: Path) -> None:
        text = re.sub(r"/opt/tds-new/\.venv/bin/\w+", "/bin/true", unit.read_text(encoding="utf-8"))
        (tmp_path / unit.name).write_text(text.replace("file:/opt/tds-new", "file:"), encoding="utf-8")
        result = run("systemd-analyze", "verify", "--man=no", tmp_path / unit.name)
        assert (result.returncode, result.stderr) == (0, "")

    def test_its_exposure_is_at_most_2(self, unit: Path) -> None:
        assert run("systemd-analyze", "security", "--offline=true", "--threshold=20", unit).returncode == 0


def directives(unit: str) -> dict[str, str]:
    """Return a unit's directives; the last one if a name is repeated."""
    lines = (INFRASTRUCTURE / "systemd" / unit).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def test_systemd_waits_for_the_consumer_and_restarts_one_that_is_stuck() -> None:
    unit = directives("tds-new-consumer.service")
    assert (unit["Type"], unit["NotifyAccess"], unit["TimeoutStartSec"], unit["Restart"]) == (
        "notify",
        "main",
        "infinity",
        "always",
    )
    # Longer than everything that a working consumer may take without a word: a hanging statement, then a
    # broker that does not answer.
    longest_statement = int(re.findall(r"statement_timeout=(\d+)s", SESSION_OPTIONS)[0])
    assert int(unit["WatchdogSec"]) >= longest_statement + STUCK_AFTER + WATCHDOG_INTERVAL
    assert "AF_UNIX" in unit["RestrictAddressFamilies"]  # the socket that systemd listens on


class TestSettingsExample:
    example = (ROOT / "environments" / ".env.example").read_text(encoding="utf-8")
    calls = [
        node
        for node in ast.walk(ast.parse((ROOT / "prj_tds_new" / "settings.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == "env"
    ]

    def names(self, *readers: str) -> set[str]:
        return {
            str(argument.value)
            for call in self.calls
            if isinstance(call.func, ast.Attribute) and call.func.attr in readers
            for argument in call.args[: 2 if call.func.attr == "either" else 1]
            if isinstance(argument, ast.Constant)
        }

    def test_it_names_exactly_what_the_settings_read(self) -> None:
        readers = {call.func.attr for call in self.calls if isinstance(call.func, ast.Attribute)} - {
            "refuse",
            "load_dotenv",
            "database",
        }
        assert set(re.findall(r"^# ?([A-Z][A-Z0-9_]*)=", self.example, re.MULTILINE)) == self.names(*readers)

    def test_the_documents_explain_exactly_the_same(self) -> None:
        table = set(
            re.findall(
                r"^\| `([A-Z][A-Z0-9_]*)` \|",
                (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8"),
                re.MULTILINE,
            )
        )
        assert table == set(re.findall(r"^# ?([A-Z][A-Z0-9_]*)=", self.example, re.MULTILINE))

    def test_as_it_stands_it_changes_nothing(self) -> None:
        assert [line for line in self.example.splitlines() if line and not line.startswith("#")] == []


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout of git")
class TestNoSecretsInGit:
    def test_secret_places_are_ignored(self) -> None:
        places = ["infrastructure/secrets/secret_key", "environments/.env", "var/secret_key"]
        assert run("git", "check-ignore", *places).stdout.split() == places

    def test_no_tracked_file_holds_a_key_or_a_password_hash(self) -> None:
        pattern = r"-----BEGIN [A-Z ]*PRIVATE KEY|\$7\$[0-9]+\$[A-Za-z0-9+/=]{16}\$|argon2id\$v="
        found = run("git", "grep", "--cached", "-lE", "-e", pattern, "--", ".", ":!tests/*")
        assert found.stdout == ""
