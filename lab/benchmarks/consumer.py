"""A running ``start_mqtt_consumer`` and what it says of itself."""

import http.client
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from lab.harness.errors import LabError
from tds_new.embedded.ports import LOOPBACK

READY_TIMEOUT = 60.0


@dataclass
class Consumer:
    """A consumer process; ``started`` is when it was started (monotonic seconds)."""

    process: "subprocess.Popen[bytes]"
    log: Path
    started: float
    metrics_port: int

    def wait_until_subscribed(self) -> float:
        """Return once the broker has granted the subscriptions: seconds since the start of the process, to a hundredth.

        Raises LabError where it does not get there.
        """
        while b"subscribed: " not in self.log.read_bytes():
            if not self.alive or time.monotonic() > self.started + READY_TIMEOUT:
                raise LabError(f"the consumer did not start: {self.log.read_text(errors='replace')[-800:]}")
            time.sleep(0.01)
        return time.monotonic() - self.started

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def memory(self) -> float:
        """What it has resident now, in MiB (VmRSS)."""
        return self._status("VmRSS")

    def peak_memory(self) -> float:
        """The most it has had resident, in MiB (VmHWM)."""
        return self._status("VmHWM")

    def _status(self, name: str) -> float:
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        except OSError:
            status = ""
        match = re.search(rf"{name}:\s+(\d+) kB", status)
        if match is None:  # ended, or about to be
            raise LabError(f"the consumer has ended: {self.log.read_text(errors='replace')[-800:]}")
        return int(match[1]) / 1024

    def metric(self, name: str) -> float:
        """A figure as Prometheus would read it, by its name with its labels; without them the sum over all; 0 where there is none yet."""
        connection = http.client.HTTPConnection(LOOPBACK, self.metrics_port, timeout=10)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.startswith((f"{name} ", f"{name}{{"))
        )

    def log_lines(self, words: str) -> list[str]:
        """What it logged with ``words`` in it."""
        return [
            line
            for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            if words in line
        ]

    def stop(self) -> None:
        """End it in order; does nothing where it has ended."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
