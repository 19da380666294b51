"""Add the platform's user to a password file that somebody else provisions."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from tds_new.broker.files import WrongPasswordError, ensure_user
from tds_new.management.arguments import folder


class Command(BaseCommand):
    """``ensure_broker_user --file PATH``; the file's other lines stay.

    It is safe to run again.
    """

    help = (
        "Add MQTT_BROKER_USER (MQTT_BACKEND_USERNAME) with its password to Mosquitto's password file, "
        "where it is missing."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the file.

        Name and password come from the settings, because everybody on the machine can see a command line.
        """
        parser.add_argument(
            "--file", type=folder, required=True, help="Mosquitto's password_file; made where it is missing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Add the user and say what is left to do.

        Raises CommandError if the user cannot be added or is there with another password.
        """
        user, secret, path = settings.MQTT_BROKER_USER, settings.MQTT_BROKER_PASSWORD, options["file"]
        if not user or not secret:
            raise CommandError(
                "set MQTT_BROKER_USER and MQTT_BROKER_PASSWORD "
                "(or MQTT_BACKEND_USERNAME and MQTT_BACKEND_PASSWORD)"
            )
        try:
            added = ensure_user(path, user, secret)
        except WrongPasswordError as error:
            raise CommandError(
                f"{error}; nothing was changed: set it with mosquitto_passwd {path} {user}"
            ) from error
        except (OSError, ValueError) as error:
            raise CommandError(f"nothing was changed: {error}") from error
        if added:
            self.stdout.write(f"[OK] {user} added to {path}")
            self.stdout.write(
                "[WARN] a running broker reads it at SIGHUP: send it only while the consumer is connected"
            )
        else:
            self.stdout.write(f"[OK] {user} is in {path} already")
