"""``start_mqtt_consumer``: the consumer, in the foreground."""

import logging
import signal
import sys
import threading
from argparse import ArgumentParser
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from tds_new.ingestion.consumer import Consumer, ConsumerOptions
from tds_new.ingestion.transport import broker_config
from tds_new.management.arguments import share_group, whole, word
from tds_new.metering.process import WorkerProcess


class Command(BaseCommand):
    """Runs a consumer, and the consumption worker beside it, until a signal."""

    help = (
        "Receive telemetry from the broker and store it, acknowledged after the commit. "
        "SIGTERM or Ctrl-C stops it cleanly."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take what differs from the settings."""
        parser.add_argument("--debug", action="store_true", help="one log line for every message")
        parser.add_argument("--broker", type=word, metavar="H", help="host of the broker (MQTT_BROKER_HOST)")
        parser.add_argument(
            "--port", type=whole(1, 65535), metavar="P", help="port of the broker (MQTT_BROKER_PORT)"
        )
        parser.add_argument(
            "--client-id",
            type=word,
            default=settings.MQTT_CLIENT_ID,
            help="MQTT client id: names the session at the broker",
        )
        parser.add_argument(
            "--share-group",
            type=share_group,
            default=settings.MQTT_SHARE_GROUP,
            metavar="G",
            help="share the messages in group G",
        )
        parser.add_argument(
            "--standby", action="store_true", help="wait while another consumer of this client id is active"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until a signal, and exit with the consumer's status."""
        if options["debug"]:
            logging.getLogger("tds_new").setLevel(logging.DEBUG)
        changes = {"host": options["broker"], "port": options["port"]}
        broker = broker_config(**{name: value for name, value in changes.items() if value})
        consumer = Consumer(
            ConsumerOptions(broker, options["client_id"], options["share_group"], options["standby"])
        )

        def stop(number: int, frame: FrameType | None) -> None:
            # On a thread of its own: the interrupted thread may hold the locks that this takes.
            threading.Thread(target=consumer.stop, name="stop").start()
            signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once

        # Three threads share the interpreter: with the default of 5 ms, the thread that PostgreSQL has
        # answered would wait so long again and again.
        sys.setswitchinterval(0.0001)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        worker = WorkerProcess() if settings.TDS_PROCESS_CONSUMPTION else None
        if worker:
            worker.start()
        try:
            status = consumer.run()
        finally:
            if worker:
                worker.stop()
        sys.exit(status)
