"""``ensure_broker_user``: the platform's user in somebody else's password file."""

import stat
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tds_new.broker.accounts import opens, password_line
from tests.support.brokers import Broker

pytestmark = pytest.mark.once
OTHERS = "# ours\nmeter:$6$old$hash\nlast:without-line-end"


@pytest.fixture(autouse=True)
def _credentials(settings: Any) -> None:
    settings.MQTT_BROKER_USER, settings.MQTT_BROKER_PASSWORD = "backend", "segredo"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "passwords").write_text(OTHERS)
    (tmp_path / "passwords").chmod(0o640)
    return tmp_path / "passwords"


def test_a_missing_user_is_added_once_and_nothing_else_changes(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("ensure_broker_user", file=file)
    text = file.read_text()
    *others, line = text.splitlines()
    assert others == OTHERS.splitlines()
    assert opens(line, "segredo")
    assert line.startswith("backend:")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    call_command("ensure_broker_user", file=file)
    assert file.read_text() == text
    said = capsys.readouterr().out
    assert said.count("backend added to") == said.count("already") == 1
    assert "segredo" not in said


def test_a_missing_file_is_made_for_its_owner_only(tmp_path: Path) -> None:
    call_command("ensure_broker_user", file=tmp_path / "new")
    assert opens((tmp_path / "new").read_text().strip(), "segredo")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_a_link_stays_a_link(file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(file)
    call_command("ensure_broker_user", file=tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert "backend:" in file.read_text()


def test_another_password_is_left_alone_and_said(file: Path) -> None:
    file.write_text(password_line("backend", "outro") + "\n")
    before = file.read_text()
    with pytest.raises(CommandError, match=r"another password; nothing was changed.*mosquitto_passwd"):
        call_command("ensure_broker_user", file=file)
    assert file.read_text() == before


@pytest.mark.parametrize(
    ("user", "secret", "words"),
    [("", "x", "set MQTT_BROKER_USER"), ("u", "", "set MQTT"), ("a:b", "x", "user name")],
)
def test_what_cannot_be_a_user_is_refused(
    file: Path, settings: Any, user: str, secret: str, words: str
) -> None:
    settings.MQTT_BROKER_USER, settings.MQTT_BROKER_PASSWORD = user, secret
    with pytest.raises(CommandError, match=words):
        call_command("ensure_broker_user", file=file)
    assert file.read_text() == OTHERS


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="nothing was changed"):
        call_command("ensure_broker_user", file=tmp_path / "nowhere" / "passwords")


def test_mosquitto_lets_the_added_user_in(mosquitto: Broker) -> None:
    mosquitto.stop()
    call_command("ensure_broker_user", file=mosquitto.files.passwords)
    mosquitto.start()
    with mosquitto.client("backend", secret="segredo") as client:
        assert not client.reason.is_failure
