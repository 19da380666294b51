"""Make the configuration of Mosquitto's dynamic security plugin.

The password file and the access rules cannot say with which client id a user may connect, and Mosquitto does
not look at the access rules when somebody subscribes. The plugin does both, and leaves everything else to
the two files: it knows no password and grants no topic. All functions are pure.
"""

import json
from collections.abc import Iterable, Sequence
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
    clients = [restricted(gateway.user) for gateway in gateways]
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


def same_restrictions(one: str, other: str) -> bool:
    """Return whether two files of the plugin say the same.

    Mosquitto writes the file too, in another form. A file that makes no sense is like no other.
    """
    try:
        return _essence(one) == _essence(other)
    except (ValueError, LookupError, TypeError, AttributeError):
        return False


def _essence(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    document = json.loads(text)
    clients = {
        client["username"]: (client.get("clientid"), [role["rolename"] for role in client["roles"]])
        for client in document["clients"]
    }
    roles = {
        role["rolename"]: [(rule["acltype"], rule["topic"], rule["allow"]) for rule in role["acls"]]
        for role in document["roles"]
    }
    return clients, roles


def commands(users: Sequence[str]) -> list[dict[str, Any]]:
    """Return the plugin's commands that restrict further gateways while it runs."""
    role = {"command": "createRole", "rolename": ROLE, "acls": _ROLE_RULES}
    return [role, *({"command": "createClient", **restricted(user)} for user in users)]
