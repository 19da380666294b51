"""Make the part of Mosquitto's configuration that is off unless it is asked for."""

WEBSOCKET_PORT = 9001


def websocket_listener(where: str) -> str:
    """Return the configuration of a listener for MQTT over WebSockets.

    It has the accounts and the limits of the one for devices. ``where`` is its port, and the address that it
    is bound to where that is not every one; Mosquitto heeds an IPv4 address only where it leaves IPv6 alone.
    """
    family = "socket_domain ipv4\n" if " " in where else ""
    return (
        "# Written by `python manage.py provision_broker` for TDS_MQTT_WEBSOCKETS=on.\n"
        f"listener {where}\nprotocol websockets\n{family}"
        "use_username_as_clientid true\nmax_connections 15000\n"
    )
