"""The publisher's process, and the log of its events."""

import subprocess
import sys
import threading

from django.conf import settings

from lab.torture.delivery_log import DeliveryLog
from lab.torture.publisher import Job

STOP_TIMEOUT_S = 10


class PublisherProcess:
    """A publisher that publishes up to a limit.

    It ends with its input, and so with this process too.
    """

    def __init__(self, job: Job, deliveries: DeliveryLog) -> None:
        self._deliveries = deliveries
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lab.torture.publisher"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=settings.BASE_DIR,
            text=True,
            start_new_session=True,
        )
        self._write(job.text())
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def limit(self, number: int) -> None:
        """Publish every message below this number."""
        self._write(f"limit {number}")

    def close(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)
        if self._process.stdout is not None:
            self._process.stdout.close()

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event, *numbers = line.split()
            self._deliveries.note(event, map(int, numbers))
