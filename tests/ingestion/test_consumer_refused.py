"""A consumer whose subscription a real broker refuses.

Mosquitto's dynamic security plugin refuses in the SUBACK.
"""

import base64
import hashlib
import json
from pathlib import Path

import pytest

from tds_new.broker.accounts import ADMIN, BACKEND
from tests.support.brokers import GATEWAY_A, Broker, BrokerFactory
from tests.support.consumers import StartConsumer
from tests.support.ingestion import TOPIC, World, payload, reading, stored
from tests.support.waiting import until

pytestmark = pytest.mark.once

PLUGIN = "mosquitto_dynamic_security.so"
CONTROL = "$CONTROL/dynamic-security/v1"
SALT, ITERATIONS = b"twelve bytes", 101


def find_plugin() -> Path | None:
    """The plugin, in one of the places of the distributions."""
    return next(
        (
            path
            for place in ("/usr/lib", "/usr/local/lib", "/usr/lib64")
            for path in Path(place).glob(f"**/{PLUGIN}")
        ),
        None,
    )


def account(user: str, secret: str, *roles: str) -> dict[str, object]:
    """A client in the form of the plugin's file."""
    key = hashlib.pbkdf2_hmac("sha512", secret.encode(), SALT, ITERATIONS, 64)
    return {
        "username": user,
        "password": base64.b64encode(key).decode(),
        "salt": base64.b64encode(SALT).decode(),
        "iterations": ITERATIONS,
        "roles": [{"rolename": role} for role in roles],
    }


def allow(kind: str, topic: str) -> dict[str, object]:
    return {"acltype": kind, "topic": topic, "priority": 0, "allow": True}


@pytest.fixture
def strict_broker(make_broker: BrokerFactory, tmp_path: Path) -> Broker:
    """A broker at which only the administrator may subscribe.

    Everybody may publish and receive.
    """
    plugin = find_plugin()
    if plugin is None:
        pytest.skip("Mosquitto's dynamic security plugin is not installed")
    directory = tmp_path / "mosquitto-0"
    directory.mkdir(mode=0o700)
    planned = Broker(directory)
    planned.provision([GATEWAY_A])
    rules = directory / "dynamic-security.json"
    everything = {
        "defaultACLAccess": {
            "publishClientSend": True,
            "publishClientReceive": True,
            "subscribe": False,
            "unsubscribe": True,
        },
        "clients": [
            account(ADMIN, planned.files.secret(ADMIN), "admin"),
            account(BACKEND, planned.files.secret(BACKEND), "consumer"),
            account(GATEWAY_A.user, planned.files.secret(GATEWAY_A.user)),
        ],
        "roles": [
            {
                "rolename": "admin",
                "acls": [allow("publishClientSend", "$CONTROL/#"), allow("subscribePattern", "#")],
            },
            {"rolename": "consumer", "acls": []},
        ],
    }
    rules.write_text(json.dumps(everything), encoding="utf-8")
    return make_broker(
        {
            "password_file": None,
            "acl_file": None,
            "plugin": str(plugin),
            "plugin_opt_config_file": str(rules),
        },
        [GATEWAY_A],
    )


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_a_refused_consumer_says_so_asks_again_and_works_once_it_may(
    world: World, strict_broker: Broker, start_consumer: StartConsumer, protocol: str
) -> None:
    consumer = start_consumer(strict_broker, environment={"MQTT_PROTOCOL": protocol})
    consumer.wait_for(
        "[ERROR]",
        "the broker refused the subscription",
        "/telemetry",
        f"check its access list for user {BACKEND}",
        times=3,
    )
    waits = [
        float(line.rsplit("next try in ", 1)[1].split()[0])
        for line in consumer.log.splitlines()
        if "/telemetry" in line
    ]
    assert waits[0] <= 1 < waits[2] <= 4  # each up to twice as long as the one before
    assert "subscribed:" not in consumer.log
    with strict_broker.client(ADMIN) as admin:
        grant = {"command": "addRoleACL", "rolename": "consumer", **allow("subscribePattern", "#")}
        admin.publish(CONTROL, json.dumps({"commands": [grant]}).encode())
    consumer.wait_until_subscribed()
    with strict_broker.client(GATEWAY_A.user) as gateway:
        gateway.publish(TOPIC, payload(reading()))
    until(lambda: len(stored()) == 1, "the reading is stored")
    assert consumer.terminate() == 0
