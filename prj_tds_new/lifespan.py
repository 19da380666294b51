"""The consumer beside the web, in one process: started and stopped by the lifespan of the ASGI server."""

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
    """A consumer on a thread of its own; always a standby where another one is active, because the web serves meanwhile."""

    def __init__(self) -> None:
        self._consumer = Consumer(
            ConsumerOptions(broker_config(), settings.MQTT_CLIENT_ID, settings.MQTT_SHARE_GROUP, standby=True)
        )
        # A daemon: a server that is told to end at once does not ask the lifespan, and must not wait for us either.
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)
        self._worker = WorkerProcess() if settings.TDS_PROCESS_CONSUMPTION else None
        self.failed = False

    def start(self) -> None:
        """Start it; does not wait for broker or database."""
        self._thread.start()
        if self._worker:
            self._worker.start()

    def stop(self) -> None:
        """Let it finish and acknowledge the batch in hand, and wait for that."""
        self._consumer.stop()
        self._thread.join()
        if self._worker:
            self._worker.stop()

    def _run(self) -> None:
        try:
            self._consumer.run()
        except Exception:
            # As its own process would: end, and be started again by whoever watches. A web without a consumer would hide the failure.
            self.failed = True
            logger.exception("the consumer failed; this process ends")
            os.kill(os.getpid(), signal.SIGTERM)


def with_consumer(web: Application) -> Application:
    """``web``, and a consumer from the server's startup to its shutdown."""

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        else:
            await web(scope, receive, send)

    return application


async def _live(receive: Receive, send: Send) -> None:
    """The lifespan protocol: startup, and after the last request shutdown."""
    await receive()
    consumer = ConsumerThread()
    consumer.start()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await asyncio.to_thread(consumer.stop)
    await send({"type": "lifespan.shutdown.complete"})
    if consumer.failed:
        # The requests are answered. A server that ends by SIGTERM ends as it was asked to: systemd's Restart=on-failure would leave it so.
        logging.shutdown()
        os._exit(1)
