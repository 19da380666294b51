"""The consumption worker as a process of its own beside the consumer: it must not take the interpreter from ingestion."""

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from django.conf import settings

logger = logging.getLogger(__name__)

FIRST_DELAY_S, LONGEST_DELAY_S = 1.0, 30.0
STABLE_S = 60.0  # one that ran so long is started again without delay
STOP_S = 20.0


class WorkerProcess:
    """Runs ``process_consumption`` until :meth:`stop`, and again where it ends by itself. It ends with this process, however that ends."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        # The kernel ends the child with the thread that made it, so this one lives as long as the process.
        self._thread = threading.Thread(target=self._run, name="consumption", daemon=True)

    def start(self) -> None:
        """Start it; waits for nothing."""
        self._thread.start()

    def stop(self) -> None:
        """Let it finish its transaction and end."""
        self._stop.set()
        self._thread.join(STOP_S + 5)

    def _run(self) -> None:
        delay = FIRST_DELAY_S
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
            if time.monotonic() - started > STABLE_S:
                delay = FIRST_DELAY_S
            logger.error(
                "the consumption worker ended with status %s; starting it again in %.0f s",
                process.returncode,
                delay,
            )
            self._stop.wait(delay)
            delay = min(2 * delay, LONGEST_DELAY_S)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
