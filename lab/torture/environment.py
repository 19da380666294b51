"""The servers of the fault injection, shared by consecutive runs."""

import socket

from lab.harness import wire
from lab.harness.environment import ADMIN, GATEWAY_LIMITS, Environment
from tds_new.embedded.ports import LOOPBACK

# The shortest keepalive that the settings allow: a half-open connection is noticed in at most twice as long.
KEEPALIVE_S = 5


class TortureEnvironment(Environment):
    """The servers of fault injection.

    ``runs`` counts the runs on it, so that each has a fleet of its own.
    """

    def __init__(self, kind: str = "auto") -> None:
        """Choose the servers.

        ``kind`` is that of :func:`lab.harness.environment.choose_binaries`.
        """
        variables = {
            "TDS_REJECTED_KEEP": "1000000",
            # After an outage a whole backlog comes at once, and one message in ten is bad.
            **dict.fromkeys(GATEWAY_LIMITS, "0"),
            "MQTT_KEEPALIVE": str(KEEPALIVE_S),
        }
        super().__init__(kind, name="torture", variables=variables)
        self.runs = 0
        self._broker_log = ""

    def variables_behind(self, database_port: int, broker_port: int) -> dict[str, str]:
        """Return the variables of a consumer behind proxies on these ports."""
        return {
            **self.variables,
            "DATABASE_URL": self.url().replace(f":{self.postgres.port}/", f":{database_port}/"),
            "MQTT_BROKER_PORT": str(broker_port),
        }

    def start_database(self) -> None:
        """Start the database server again."""
        self.postgres.start(self.database)

    def stop_broker(self, *, kill: bool = False) -> None:
        """Stop the broker in order, or like a power cut where ``kill`` is set."""
        if kill:
            self.broker.kill()
        else:
            self.broker.stop()
        self._broker_log += self.broker.log_text()

    def empty_broker(self) -> None:
        """Delete the store of a broker that is stopped."""
        for path in (self.broker.directory / "data").iterdir():
            path.unlink()

    def whole_broker_log(self) -> str:
        """Return what the broker has logged, its earlier processes included."""
        return self._broker_log + self.broker.log_text()

    def forget_session(self, client_id: str) -> None:
        """End a consumer's persistent session at the broker.

        Then nothing is queued for it any more.
        """
        with socket.create_connection((LOOPBACK, self.broker.port), timeout=5) as sock:
            sock.sendall(wire.connect(client_id, ADMIN, self.admin_secret))
            sock.recv(4)
            sock.sendall(wire.packet(wire.DISCONNECT, b""))
