"""Publish plausible telemetry of registered gateways over MQTT."""

import signal
from argparse import ArgumentParser, BooleanOptionalAction
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from tds_new.demo.publisher import FLUSH_S, Published, Publisher, stations
from tds_new.demo.simulation import registered, simulated
from tds_new.management.arguments import folder, seconds, whole

WHY_UNANSWERED = (
    "Does the consumer run? May this user publish telemetry and read {prefix}/{id}/ack "
    "(gateways may, with --credentials)? --no-seq does not wait for answers"
)


class Command(BaseCommand):
    """``simulate_gateways``: runs until Ctrl-C, or for M messages of each gateway.

    With ``--count`` it ends with status 1 where not all messages were answered as stored (``--no-seq``:
    acknowledged by the broker).
    """

    help = "Publish plausible telemetry of N registered gateways over MQTT, as the gateways themselves would."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add how many gateways publish how often, and as whom."""
        parser.add_argument(
            "--gateways",
            type=whole(1, 1_000_000),
            default=1,
            metavar="N",
            help="how many, the longest registered first (1)",
        )
        parser.add_argument(
            "--interval",
            type=seconds(0.001, 86_400),
            default=10.0,
            metavar="S",
            help="seconds between two messages of a gateway (10)",
        )
        parser.add_argument(
            "--count", type=whole(1, 1_000_000_000), metavar="M", help="messages of each gateway, then end"
        )
        parser.add_argument(
            "--seq",
            action=BooleanOptionalAction,
            default=True,
            help='number the messages ("seq") and keep each until the platform answers '
            "that it is stored (default); --no-seq: publish only",
        )
        parser.add_argument(
            "--patience",
            type=seconds(0, 86_400),
            default=FLUSH_S,
            metavar="S",
            help=f"with --count: seconds to wait for the last answers ({FLUSH_S:g})",
        )
        parser.add_argument(
            "--credentials",
            type=folder,
            metavar="DIR",
            help="secrets/ of provision_broker: each gateway connects as itself; "
            "else all as MQTT_BROKER_USER",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Publish.

        Raises CommandError if nothing can be published, or with --count not all was answered.
        """
        if (
            options["gateways"] < 1
            or options["interval"] <= 0
            or (options["count"] is not None and options["count"] < 1)
        ):
            raise CommandError("--gateways and --count are at least 1, --interval is more than 0")
        gateways = simulated(registered(options["gateways"]))
        if not gateways:
            raise CommandError(
                "no active gateway with an active device is registered; "
                "`manage.py create_demo_data` makes one"
            )
        if len(gateways) < options["gateways"]:
            self.stderr.write(f"[WARN] only {len(gateways)} active gateways with devices are registered")
        try:
            fleet = stations(
                gateways,
                options["credentials"] or _embedded_secrets(),
                timedelta(seconds=options["interval"]),
            )
        except OSError as error:
            raise CommandError(
                f"a gateway's secret cannot be read: {error}; run `manage.py provision_broker`"
            ) from error
        seq, finite = options.get("seq", True), options["count"] is not None
        publisher = Publisher(
            fleet,
            options["interval"],
            count=options["count"],
            seq=seq,
            answer_timeout=options.get("patience", FLUSH_S),
        )

        def stop(number: int, frame: FrameType | None) -> None:
            publisher.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        self.stdout.write(
            f"[OK] {len(gateways)} gateways publish every {options['interval']:g} s "
            f"to {settings.MQTT_BROKER_HOST}"
        )
        self.stdout.flush()
        done = publisher.run()
        state = _state(done, seq)
        if finite and seq and done.answered < done.messages:
            raise CommandError(f"{state}. {WHY_UNANSWERED}")
        if finite and (done.unacknowledged or done.refused):
            raise CommandError(state)
        self.stdout.write(f"[OK] {state}")


def _state(done: Published, seq: bool) -> str:
    unanswered = done.messages - done.answered
    refused = f"{done.refused} refused for good, " if done.refused else ""
    stored = done.answered - done.refused
    answers = f"{stored} answered as stored, {refused}{unanswered} not answered, " if seq else ""
    return (
        f"{done.messages} messages: {answers}{done.unacknowledged} publications not acknowledged "
        f"by the broker, {done.missed} not measured"
    )


def _embedded_secrets() -> Path | None:
    """Return where the embedded default keeps the gateways' passwords; None elsewhere."""
    path = Path(settings.TDS_DATA_DIR) / "broker" / "secrets"
    return path if settings.EMBEDDED and path.is_dir() else None
