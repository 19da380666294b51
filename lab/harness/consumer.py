"""The consumer as a child process of an experiment or a test."""

import http.client
import time
from collections.abc import Sequence

from lab.harness.process import START_TIMEOUT_S, ChildProcess, manage
from tds_new.embedded.ports import LOOPBACK


def consumer_command(*arguments: str) -> list[str]:
    """Return the command line of ``start_mqtt_consumer``."""
    return manage("start_mqtt_consumer", *arguments)


def metric_value(text: str, name: str) -> float:
    """Return a figure of a Prometheus text by its name with its labels.

    A name without labels gives the sum over all labels.

    It is 0 if there is none yet.
    """
    lines: Sequence[str] = text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


class ConsumerProcess(ChildProcess):
    """A running consumer.

    It serves its metrics on ``metrics_port`` where that is not 0.
    """

    metrics_port = 0

    def wait_until_subscribed(self, times: int = 1, timeout: float = START_TIMEOUT_S) -> float:
        """Wait until the broker has granted the subscriptions so often.

        Return the seconds since the start.

        Raises LabError if the consumer does not get there within ``timeout`` seconds.
        """
        self.wait_for("subscribed: ", times=times, timeout=timeout)
        return time.monotonic() - self.started

    def metric(self, name: str) -> float:
        """Ask the consumer for a figure of its metrics; see :func:`metric_value`."""
        connection = http.client.HTTPConnection(LOOPBACK, self.metrics_port, timeout=10)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        return metric_value(text, name)
