"""The consumer beside the web, in one process.

The lifespan of the ASGI server starts and stops it.
"""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings

from tds_new.ingestion.consumer import Consumer, ConsumerOptions
from tds_new.ingestion.transport import broker_config
from tds_new.metering.process import WorkerProcess

logger = logging.getLogger("tds_new.lifespan")

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[Any]]


class ConsumerThread:
    """A consumer on a thread of its own.

    It is always a standby while another consumer is active, because the web goes on serving.
    """

    def __init__(self) -> None:
        self._consumer = Consumer(
            ConsumerOptions(broker_config(), settings.MQTT_CLIENT_ID, settings.MQTT_SHARE_GROUP, standby=True)
        )
        # A daemon: a server that is told to end at once skips the lifespan, and must not wait for this
        # thread.
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)
        self._worker = WorkerProcess() if settings.TDS_PROCESS_CONSUMPTION else None
        self.failed = False

    def start(self) -> None:
        """Start it, without waiting for broker or database."""
        self._thread.start()
        if self._worker:
            self._worker.start()

    def stop(self) -> None:
        """Let it finish and acknowledge its batch, and wait for that."""
        self._consumer.stop()
        self._thread.join()
        if self._worker:
            self._worker.stop()

    def _run(self) -> None:
        try:
            self._consumer.run()
        except Exception:
            # As a process of its own would: end, so that the supervisor starts it again. A web process
            # without a consumer would hide the failure.
            self.failed = True
            logger.exception("the consumer failed; this process ends")
            os.kill(os.getpid(), signal.SIGTERM)


def with_consumer(web: Application) -> Application:
    """Return ``web`` with a consumer that runs while the server does."""

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        else:
            await web(scope, receive, send)

    return application


async def _live(receive: Receive, send: Send) -> None:
    """Follow the lifespan protocol: startup, and shutdown after the last request."""
    await receive()
    consumer = ConsumerThread()
    consumer.start()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await asyncio.to_thread(consumer.stop)
    await send({"type": "lifespan.shutdown.complete"})
    if consumer.failed:
        # The requests are answered. After SIGTERM the server would exit with status 0, and systemd's
        # Restart=on-failure would not start it again.
        logging.shutdown()
        os._exit(1)
