"""Make the configuration of Mosquitto's dynamic security plugin.

The password file and the access rules cannot say with which client id a user may connect, and Mosquitto does
not look at the access rules when somebody subscribes. The plugin does both, and leaves everything else to
the two files: it knows no password and grants no topic. All functions are pure.

The plugin reads its file when Mosquitto starts. It could be told of changes over MQTT
(``$CONTROL/dynamic-security``), but nobody has the right to: up to 2.0.20 it counts the memory for its answer
and for its file as freed without having counted it as taken. With a ``memory_limit`` Mosquitto then soon
believes to be over it, and throws everybody out (measured with 2.0.11, 50 gateways: at the 28th new one).
"""

import json
from collections.abc import Iterable
from typing import Any

from tds_new.broker.accounts import DASHBOARD, GatewayAccount

# Whoever subscribes to $share/GROUP/... is dealt a part of the group's messages, which Mosquitto then drops
# for want of a rule, although it has acknowledged them.
ROLE = "no_share_groups"
_ROLE_RULES = [{"acltype": "subscribePattern", "topic": "$share/#", "priority": 0, "allow": False}]
# What no role decides is decided by the access rules.
_UNDECIDED = dict.fromkeys(("publishClientSend", "publishClientReceive", "subscribe", "unsubscribe"), False)


def restrictions_text(gateways: Iterable[GatewayAccount]) -> str:
    """Return the plugin's file.

    A gateway connects with its user name as client id, on every listener, so that it can take nobody's
    session but its own. Where the listener makes the user name the client id (``use_username_as_clientid``)
    it may send any. Gateways and the dashboard cannot join a share group. The other users of the platform
    choose their client ids.
    """
    clients: list[dict[str, Any]] = [
        {"username": gateway.user, "clientid": gateway.user, "roles": [{"rolename": ROLE}]}
        for gateway in gateways
    ]
    clients.append({"username": DASHBOARD, "roles": [{"rolename": ROLE}]})
    document = {
        "defaultACLAccess": _UNDECIDED,
        "clients": clients,
        "groups": [],
        "roles": [{"rolename": ROLE, "acls": _ROLE_RULES}],
    }
    return json.dumps(document, indent=1) + "\n"


def restricted(user: str) -> dict[str, Any]:
    """Return the entry of a gateway's user."""
    return {"username": user, "clientid": user, "roles": [{"rolename": ROLE}]}


def restricted_users(text: str) -> frozenset[str]:
    """Return the users that a file of the plugin names; none if it makes no sense."""
    try:
        return frozenset(client["username"] for client in json.loads(text)["clients"])
    except (ValueError, LookupError, TypeError):
        return frozenset()
