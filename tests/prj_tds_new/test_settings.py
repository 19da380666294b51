"""Configuration: nonsense stops the program with one line; production's is clean."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

KEY = "b7f7Zq2xT0mKc4Vw9yRj1sHd6LgNe3PuA8iXoC5tBzQvMnWkUf4Rp2Ty"
PRODUCTION = {
    "SECRET_KEY": KEY,
    "DATABASE_URL": "postgres://tds_new:secret@db.example.com:5432/tds_new",
    "ALLOWED_HOSTS": "tds.example.com",
    "CSRF_TRUSTED_ORIGINS": "https://tds.example.com",
    "TDS_BEHIND_PROXY": "on",
    "MQTT_BROKER_HOST": "broker.example.com",
}
pytestmark = pytest.mark.once


def manage(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run ``manage.py`` with production's environment and ``changes``.

    A blank value removes a name.
    """
    environment = (
        {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        | PRODUCTION
        | changes
    )
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def value_of(expression: str, **changes: str) -> str:
    result = manage(
        "shell", "--no-imports", "-c", f"from django.conf import settings; print({expression})", **changes
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SECRET_KEY", "", "SECRET_KEY is not set"),
        ("SECRET_KEY", "short", "SECRET_KEY is too short to be a secret"),
        ("SECRET_KEY_FILE", "/run/key", "SECRET_KEY and SECRET_KEY_FILE are both set"),
        (
            "MQTT_BROKER_PASSWORD_FILE",
            "/nonexistent/password",
            "MQTT_BROKER_PASSWORD_FILE=/nonexistent/password cannot be read",
        ),
        ("MQTT_BROKER_PASSWORD_FILE", "/dev/null", "MQTT_BROKER_PASSWORD_FILE=/dev/null is empty"),
        ("DATABASE_URL", "mysql://u@h/db", "DATABASE_URL starts with mysql://"),
        ("DATABASE_URL", "nonsense", "DATABASE_URL starts with nothing"),
        ("DATABASE_URL", "postgres://u:p@host:5432/", "DATABASE_URL names no database"),
        ("DATABASE_URL", "postgres://u:p@host:port/db", "DATABASE_URL cannot be read"),
        ("DEBUG", "maybe", "DEBUG=maybe is neither on nor off"),
        ("ALLOWED_HOSTS", "*", "ALLOWED_HOSTS=*"),
        ("CSRF_TRUSTED_ORIGINS", "tds.example.com", "CSRF_TRUSTED_ORIGINS: tds.example.com is not an origin"),
        ("MQTT_BROKER_PORT", "mqtt", "MQTT_BROKER_PORT=mqtt is not a whole number"),
        ("MQTT_BROKER_PORT", "70000", "MQTT_BROKER_PORT=70000 is not between 1 and 65535"),
        ("MQTT_KEEPALIVE", "1", "MQTT_KEEPALIVE=1 is not between"),
        ("MQTT_PROTOCOL", "4", "MQTT_PROTOCOL=4 is not one of: 3.1.1, 5"),
        ("MQTT_TOPIC_PREFIX", "tds/+/devices", "MQTT_TOPIC_PREFIX=tds/+/devices is not a topic prefix"),
        ("MQTT_CA_CERTS", "/nonexistent/ca.pem", "MQTT_CA_CERTS=/nonexistent/ca.pem does not exist"),
        ("MQTT_SHARE_GROUP", "a/b", "MQTT_SHARE_GROUP=a/b must not hold"),
        ("TDS_TIME_ZONE", "Mars/Olympus", "TDS_TIME_ZONE=Mars/Olympus is not an IANA time zone"),
        ("TDS_TIMESCALEDB", "perhaps", "TDS_TIMESCALEDB=perhaps is not one of"),
        (
            "TDS_WEB_METRICS_ALLOW",
            "10.0.0.0/8,prometheus",
            "TDS_WEB_METRICS_ALLOW: 'prometheus' does not appear to be",
        ),
        ("TDS_WEB_METRICS_ALLOW", "10.0.0.1/8", "TDS_WEB_METRICS_ALLOW: 10.0.0.1/8 has host bits set"),
        ("TDS_HISTORY_DAYS", "-1", "TDS_HISTORY_DAYS=-1 is not between"),
    ],
)
def test_nonsense_stops_the_program_with_one_clear_line(name: str, value: str, words: str) -> None:
    result = manage("check", **{name: value})
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("[ERROR] configuration: ")
    assert words in result.stderr
    assert KEY not in result.stderr


def test_an_embedded_default_that_cannot_keep_its_key_says_so() -> None:
    result = manage("check", SECRET_KEY="", DATABASE_URL="", TDS_DATA_DIR="/dev/null/var")
    assert result.returncode == 2
    assert result.stderr.startswith("[ERROR] configuration: TDS_DATA_DIR=/dev/null/var cannot be written")


@pytest.mark.parametrize("name", ["SECRET_KEY", "MQTT_BROKER_USER", "MQTT_BROKER_PASSWORD"])
def test_a_secret_may_come_from_a_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{KEY}-from-file\n", encoding="utf-8")
    assert (
        value_of(f"settings.{name}", **{name: "", f"{name}_FILE": str(tmp_path / "secret")})
        == f"{KEY}-from-file"
    )


@pytest.mark.parametrize(("name", "other"), [("USER", "USERNAME"), ("PASSWORD", "PASSWORD")])
def test_the_brokers_credentials_have_a_second_name(name: str, other: str) -> None:
    alone = {f"MQTT_BROKER_{name}": "", f"MQTT_BACKEND_{other}": "one"}
    assert value_of(f"settings.MQTT_BROKER_{name}", **alone) == "one"
    assert value_of(f"settings.MQTT_BROKER_{name}", **alone | {f"MQTT_BROKER_{name}": "one"}) == "one"


def test_credentials_that_differ_by_name_are_refused_without_showing_them() -> None:
    result = manage("check", MQTT_BROKER_PASSWORD="first-secret", MQTT_BACKEND_PASSWORD="other-secret")
    assert result.returncode == 2
    assert result.stderr == (
        "[ERROR] configuration: MQTT_BROKER_PASSWORD and MQTT_BACKEND_PASSWORD are both set and differ; "
        "keep one of them\n"
    )


def test_the_databases_address_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgres://ana:p%40ss@filehost:5433/meters\n", encoding="utf-8")
    expression = "'{HOST} {PORT} {NAME} {PASSWORD}'.format(**settings.DATABASES['default'])"
    assert (
        value_of(expression, DATABASE_URL="", DATABASE_URL_FILE=str(tmp_path / "url"))
        == "filehost 5433 meters p@ss"
    )


def test_production_passes_djangos_deployment_checks() -> None:
    result = manage("check", "--deploy", "--fail-level", "WARNING")
    assert (result.returncode, result.stderr) == (0, "")


def test_debug_is_off_unless_asked_for_and_cookies_need_https() -> None:
    assert (
        value_of("settings.DEBUG, settings.SESSION_COOKIE_SECURE, settings.SESSION_COOKIE_NAME")
        == "False True __Host-sessao"
    )
