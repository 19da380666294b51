"""What users may not do, as the plugin reads it, and what provisioning says; without Mosquitto."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from tds_new.broker.accounts import ADMIN, BACKEND, DASHBOARD, GatewayAccount
from tds_new.broker.files import BrokerFiles
from tds_new.broker.restrictions import restricted_users, restrictions_text
from tds_new.embedded.mosquitto import template
from tds_new.ingestion.topics import is_guessable
from tds_new.models import Conta, Gateway

A, B = GatewayAccount("aa:bb:cc:dd:ee:0a"), GatewayAccount("AA-BB-CC-DD-EE-0B", "abc123")


def test_a_gateway_has_its_own_client_id_and_the_consumer_any() -> None:
    document = json.loads(restrictions_text([A, B]))
    by_user = {client["username"]: client for client in document["clients"]}
    assert by_user.keys() == {A.user, B.user, DASHBOARD}  # ADMIN and BACKEND choose, and may share
    assert {user: client.get("clientid") for user, client in by_user.items()} == {
        A.user: A.user,
        B.user: B.user,
        DASHBOARD: None,
    }
    (role,) = document["roles"]
    assert all(
        [each["rolename"] for each in client["roles"]] == [role["rolename"]] for client in by_user.values()
    )
    assert [(rule["acltype"], rule["topic"], rule["allow"]) for rule in role["acls"]] == [
        ("subscribePattern", "$share/#", False)
    ]
    # What it does not forbid is decided by the access rules, and passwords by the password file.
    assert set(document["defaultACLAccess"].values()) == {False}
    assert not [client for client in document["clients"] if "password" in client]
    assert ADMIN not in by_user
    assert BACKEND not in by_user


def test_a_file_that_makes_no_sense_names_nobody() -> None:
    assert restricted_users(restrictions_text([A])) == {A.user, DASHBOARD}
    for nonsense in ("", "[]", "{", '{"clients": [1]}'):
        assert restricted_users(nonsense) == frozenset()


def test_the_broker_must_be_started_again_for_a_new_gateway_only(tmp_path: Path) -> None:
    files = BrokerFiles(tmp_path / "broker")
    assert files.provision("p", [A]).restart
    assert not files.provision("p", [A], rotate=[A.user]).restart
    assert files.provision("p", [A, B]).restart
    assert not files.provision("p", [B]).restart
    assert A.user not in files.restrictions.read_text(encoding="utf-8")


def test_websockets_are_off_unless_they_are_asked_for(tmp_path: Path) -> None:
    files = BrokerFiles(tmp_path / "broker")
    assert files.provision("p", [A]).restart  # Mosquitto must be started with the new files
    assert list(files.listeners.iterdir()) == []
    assert files.provision("p", [A], websockets=True).restart
    (written,) = files.listeners.iterdir()
    lines = written.read_text(encoding="ascii").splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "listener 9001", "protocol websockets", "use_username_as_clientid true", "max_connections 15000",
    ]  # fmt: skip
    device = template().split("listener 1883\n")[1].split("listener 1884\n")[0]
    assert all(line in device for line in lines[-2:])  # the limits of the listener for devices
    assert files.provision("p", [A], websockets=True).changed is False
    assert files.provision("p", [A]).restart
    assert list(files.listeners.iterdir()) == []


def test_the_share_group_is_a_secret_that_stays(tmp_path: Path) -> None:
    files = BrokerFiles(tmp_path / "broker")
    files.provision("p", [A])
    group = files.share_group.read_text(encoding="ascii").strip()
    files.provision("p", [A, B])
    assert files.share_group.read_text(encoding="ascii").strip() == group
    assert stat.S_IMODE(files.share_group.stat().st_mode) == 0o600
    assert not set("/+#") & set(group)
    assert not is_guessable(group)


def test_the_restrictions_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    files = BrokerFiles(tmp_path / "broker")
    files.provision("p", [A], websockets=True)
    assert stat.S_IMODE(files.restrictions.stat().st_mode) == 0o600
    assert files.listeners.stat().st_mode & stat.S_IXOTH


@pytest.mark.django_db
class TestWhatTheCommandSays:
    @pytest.fixture(autouse=True)
    def gateways(self) -> None:
        conta = Conta.objects.create(name="Conta")
        Gateway.objects.create(conta=conta, codigo="A", mac=A.mac)

    def provision(self, directory: Path, capsys: pytest.CaptureFixture[str], **options: Any) -> str:
        call_command("provision_broker", directory=directory, **options)
        return capsys.readouterr().out

    def test_the_topic_of_each_new_or_shown_gateway(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        topic = f"user {A.user} publishes to tds_new/devices/{A.user}/telemetry\n"
        assert topic in self.provision(tmp_path, capsys)
        assert topic not in self.provision(tmp_path, capsys)
        assert topic in self.provision(tmp_path, capsys, show=[A.user])
        Gateway.objects.create(conta=Conta.objects.get(), codigo="B", mac=B.mac.lower(), device_id="abc123")
        said = self.provision(tmp_path, capsys)
        assert f"user {B.user} publishes to tds_new/devices/abc123/telemetry\n" in said
        assert topic not in said

    def test_of_many_gateways_some(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        conta = Conta.objects.get()
        Gateway.objects.bulk_create(
            Gateway(conta=conta, codigo=f"G{n}", mac=f"02:00:00:00:00:{n:02x}") for n in range(30)
        )
        said = self.provision(tmp_path, capsys)
        assert said.count(" publishes to ") == 20
        assert "and 11 more: tds_new/devices/USER/telemetry\n" in said

    def test_what_the_running_broker_needs(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "start a running broker again" in self.provision(tmp_path, capsys)  # everything is new
        assert "[WARN]" not in self.provision(tmp_path, capsys)
        said = self.provision(tmp_path, capsys, rotate=[A.user])
        assert "[WARN] a running broker reads them at SIGHUP" in said
        Gateway.objects.create(conta=Conta.objects.get(), codigo="B", mac=B.mac)
        assert "At SIGHUP it lets new gateways in, but without" in self.provision(tmp_path, capsys)
