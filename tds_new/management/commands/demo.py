"""``demo``: run all services on this machine, as `make run` does."""

import signal
import time
from argparse import ArgumentParser
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from tds_new.demo.fleet import CONTA, STAFF_LOGIN
from tds_new.demo.stack import DemoError, Stack, default_gateways
from tds_new.embedded import child
from tds_new.embedded.mosquitto import MosquittoError
from tds_new.embedded.postgres import PostgresError
from tds_new.management.arguments import whole

LOOK_EVERY_S = 0.5


class _StopRequested(BaseException):
    """Ctrl-C or SIGTERM: ends the start or the watch wherever it is."""


class Command(BaseCommand):
    """``demo``: runs in the foreground until Ctrl-C or SIGTERM."""

    help = (
        "Run PostgreSQL, a broker, the consumer, the web and simulated gateways on this machine; "
        "Ctrl-C stops all of it."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the size of the demonstration, and how it ends."""
        parser.add_argument(
            "--days",
            type=whole(0, 36_500),
            default=62,
            help="days of readings that the first run starts with (62: all of the month before)",
        )
        parser.add_argument(
            "--gateways",
            type=whole(0, 1_000_000),
            default=default_gateways(),
            help="how many gateways are simulated (all)",
        )
        parser.add_argument(
            "--die-with-parent",
            action="store_true",
            help="stop when the program that started this one has ended",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Start everything, and watch it until the end.

        Raises CommandError beside a configured database.
        """
        if not settings.EMBEDDED:
            raise CommandError(
                "DATABASE_URL is set, but the demonstration runs on a database of its own: "
                "unset it (environments/.env too)"
            )
        if options["die_with_parent"]:
            child.tie_to_parent(signal.SIGTERM)
        stack = Stack(
            settings.BASE_DIR,
            Path(settings.TDS_DATA_DIR),
            self._say,
            days=options["days"],
            gateways=options["gateways"],
        )
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _stop)
        try:
            self._announce(stack, stack.start())
            while True:
                time.sleep(LOOK_EVERY_S)
                stack.look()
        except _StopRequested:
            self._say("OK", "stopping")
        except (DemoError, PostgresError, MosquittoError, OSError) as error:
            self._say("ERROR", str(error))
            raise SystemExit(1) from error
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # an orderly end takes seconds; do not cut it short
            stack.stop()
        self._say("OK", "stopped; the next run finds its data again")

    def _announce(self, stack: Stack, address: str) -> None:
        self._say("OK", f"logs are in {stack.data_dir / 'log'}; Ctrl-C stops everything")
        self.stdout.write(f"\n    TDS New runs at {address}\n")
        for login in stack.logins:
            superuser = login.startswith(f"login {STAFF_LOGIN}")
            self.stdout.write(
                f"    {login} ({f'superuser, for {address}admin/' if superuser else f'member of {CONTA}'})"
            )
        self.stdout.write("")
        self.stdout.flush()

    def _say(self, label: str, text: str) -> None:
        line = f"[{label}] {text}".encode("ascii", "backslashreplace").decode("ascii")
        self.stdout.write(line)
        self.stdout.flush()


def _stop(number: int, frame: FrameType | None) -> None:
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise _StopRequested
