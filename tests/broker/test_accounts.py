"""Password lines, access rules and their files as Mosquitto reads them, without Mosquitto."""

import stat
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tds_new.broker.accounts import BACKEND, GatewayAccount, acl_text, opens, password_line
from tds_new.broker.files import BrokerFiles
from tds_new.embedded.mosquitto import render, template
from tds_new.models import Conta, Gateway

# Made by mosquitto_passwd 2.0.11 for the password "segredo".
FROM_MOSQUITTO_PASSWD = (
    "leitor:$7$101$o5tdPLb9KTq3FDn9$"
    "11PU1eu57InwKAmYrX9cSUEDrHBOral17fAjSKcvEA4rXXr5LKBpmD8LO6H56eDfMYIlxgJckdh9eOrfBxd15A=="
)
A, B = GatewayAccount("aa:bb:cc:dd:ee:0a"), GatewayAccount("AA-BB-CC-DD-EE-0B", "abc123")


def rules(text: str, user: str) -> list[str]:
    section = text.split(f"user {user}\n", 1)[1]
    return section.split("\nuser ", 1)[0].strip().splitlines()


def test_a_line_made_by_mosquitto_passwd_is_understood() -> None:
    assert opens(FROM_MOSQUITTO_PASSWD, "segredo")
    assert not opens(FROM_MOSQUITTO_PASSWD, "outro")


@pytest.mark.parametrize("line", ["", "a", "a:b", "a:$6$x$y", "a:$7$x$y$z", "a:$7$101$???$z"])
def test_a_line_that_makes_no_sense_opens_nothing(line: str) -> None:
    assert not opens(line, "segredo")


@pytest.mark.parametrize("user", ["", "aa:bb", "a\nb", "a\0b"])
def test_a_name_that_would_break_the_file_is_refused(user: str) -> None:
    with pytest.raises(ValueError, match="user name"):
        password_line(user, "x")


def test_a_gateway_may_use_every_spelling_of_its_mac_and_its_device_id() -> None:
    assert A.user == "aabbccddee0a"
    assert set(B.identifiers) == {
        "aa:bb:cc:dd:ee:0b", "AA:BB:CC:DD:EE:0B", "aa-bb-cc-dd-ee-0b", "AA-BB-CC-DD-EE-0B",
        "aabbccddee0b", "AABBCCDDEE0B", "abc123",
    }  # fmt: skip


@pytest.mark.parametrize(
    "device_id",
    [
        "+",
        "#",
        "a/b",
        "a b",
        "x\ntopic readwrite #",
        "é",
        "aabbccddee0b",
        "AA-BB-CC-DD-EE-0B",
        "AaBbCcDdEe0b",
    ],
)
def test_a_device_id_that_would_reach_further_is_refused(device_id: str) -> None:
    with pytest.raises(ValueError, match="device_id"):
        acl_text("p", [GatewayAccount("aa:bb:cc:dd:ee:0a", device_id)])


def test_rules_follow_the_prefix_and_name_every_right() -> None:
    text = acl_text("devices", [A, B])
    assert rules(text, BACKEND) == [
        "topic read devices/+/telemetry", "topic read devices/+/heartbeat", "topic read devices/+/status",
        "topic read $SYS/#", "topic write devices/+/ack", "topic write devices/+/commands/#",
    ]  # fmt: skip
    assert all(rule.startswith("topic read ") for rule in rules(text, "dashboard"))
    assert "topic write devices/abc123/telemetry" in rules(text, B.user)
    assert len(rules(text, A.user)) == 6 * 5


def test_a_second_run_changes_nothing_and_a_new_gateway_leaves_the_others_alone(tmp_path: Path) -> None:
    files = BrokerFiles(tmp_path / "broker")
    first = files.provision("p", [A])
    secret, line = files.secret(A.user), files.passwords.read_text(encoding="utf-8")
    assert set(first.created) == {"admin", "django_backend", "dashboard", A.user}
    assert files.provision("p", [A]).changed is False
    second = files.provision("p", [A, B])
    assert second.created == (B.user,)
    assert files.secret(A.user) == secret
    assert files.passwords.read_text(encoding="utf-8").startswith(line)


def test_a_rotated_secret_is_new_and_a_removed_gateway_is_gone(tmp_path: Path) -> None:
    files = BrokerFiles(tmp_path / "broker")
    files.provision("p", [A, B])
    before = files.secret(A.user)
    done = files.provision("p", [A], rotate=[A.user])
    assert files.secret(A.user) != before
    assert done.removed == (B.user,)
    assert B.user not in files.passwords.read_text(encoding="utf-8") + files.acl.read_text(encoding="utf-8")
    assert not (files.secrets / B.user).exists()


def test_secrets_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    files = BrokerFiles(tmp_path / "broker")
    files.provision("p", [A])
    for path in (files.passwords, files.acl, *files.secrets.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(files.secrets.stat().st_mode) == 0o700


@pytest.mark.django_db
def test_the_command_takes_active_gateways_and_prints_secrets_only_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conta = Conta.objects.create(name="Conta")
    Gateway.objects.create(conta=conta, codigo="A", mac=A.mac)
    Gateway.objects.create(conta=conta, codigo="B", mac=B.mac, is_active=False)
    call_command("provision_broker", directory=tmp_path / "broker")
    files = BrokerFiles(tmp_path / "broker")
    said = capsys.readouterr().out
    assert "3 platform users and 1 gateways" in said
    assert "start a running broker again" in said
    assert f"user {A.user} publishes to tds_new/devices/{A.user}/telemetry\n" in said
    assert not [path for path in files.secrets.iterdir() if path.read_text(encoding="ascii").strip() in said]
    assert said.isascii()
    call_command("provision_broker", directory=tmp_path / "broker", show=[A.user])
    said = capsys.readouterr().out
    assert f"{A.user} {files.secret(A.user)}\n" in said
    assert "nothing changed" in said


@pytest.mark.django_db
def test_the_command_refuses_unknown_users(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no such user: ninguem"):
        call_command("provision_broker", directory=tmp_path / "broker", rotate=["ninguem"])
    with pytest.raises(CommandError, match="no such user: ninguem"):
        call_command("provision_broker", directory=tmp_path / "broker", show=["ninguem"])
    with pytest.raises(CommandError, match="--owner"):
        call_command("provision_broker", directory=tmp_path / "broker", owner="ninguem-existe")


def test_the_shipped_configuration_keeps_its_promises() -> None:
    lines = [line for line in template().splitlines() if line and not line.startswith("#")]
    assert "allow_anonymous false" in lines
    assert "max_queued_messages 1000000" in lines
    assert "persistence true" in lines
    assert not [line for line in lines if line.startswith(("per_listener_settings", "message_size_limit"))]
    device, platform = (lines.index("listener 1883"), lines.index("listener 1884"))
    assert device < lines.index("use_username_as_clientid true") < platform


def test_replaced_settings_keep_their_place_and_new_ones_go_to_the_end() -> None:
    text = "a 1\nlistener 1\nb 2\nlistener 2\nc 3\n"
    assert (
        render(text, {"b": "9", "c": None, "d": "4"}, ("7 x", "8 x"))
        == "a 1\nlistener 7 x\nb 9\nlistener 8 x\nd 4\n"
    )
    with pytest.raises(ValueError, match="fewer"):
        render(text, {}, ("1", "2", "3"))
    with pytest.raises(ValueError, match="more"):
        render(text, {}, ("1",))
