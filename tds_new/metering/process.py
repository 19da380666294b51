"""The consumption worker as a process of its own beside the consumer.

In the consumer's own process it would compete with ingestion for the interpreter.
"""

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from django.conf import settings

from tds_new.backoff import Backoff

logger = logging.getLogger(__name__)

RESTART = Backoff(first=1.0, longest=30.0, jitter=0.0)
STABLE_S = 60.0  # a process that ran so long resets the delay
STOP_S = 20.0


class WorkerProcess:
    """Runs ``process_consumption`` until :meth:`stop`, and again if it ends by itself.

    It ends with this process, however that ends.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        # The kernel ends the child with the thread that started it, so this thread lives as long as the
        # process.
        self._thread = threading.Thread(target=self._run, name="consumption", daemon=True)

    def start(self) -> None:
        """Start it, without waiting until it runs."""
        self._thread.start()

    def stop(self) -> None:
        """Have it finish its transaction, and wait until it has ended."""
        self._stop.set()
        self._thread.join(STOP_S + 5)

    def _run(self) -> None:
        ended = 0  # how often it ended in a row soon after its start
        command = [
            sys.executable,
            str(Path(settings.BASE_DIR) / "manage.py"),
            "process_consumption",
            "--parent",
            str(os.getpid()),
        ]
        while not self._stop.is_set():
            started = time.monotonic()
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, start_new_session=True
            )  # Ctrl-C reaches us alone
            while process.poll() is None and not self._stop.wait(0.2):
                pass
            if self._stop.is_set():
                self._end(process)
                return
            ended = 1 if time.monotonic() - started > STABLE_S else ended + 1
            delay = RESTART.delay_before(ended)
            logger.error(
                "the consumption worker ended with status %s; starting it again in %.0f s",
                process.returncode,
                delay,
            )
            self._stop.wait(delay)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
