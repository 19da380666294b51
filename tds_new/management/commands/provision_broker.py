"""Write the broker's files for the platform and every active gateway."""

import pwd
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from tds_new.broker.accounts import BACKEND, PLATFORM_USERS, GatewayAccount
from tds_new.broker.files import BrokerFiles
from tds_new.models import Gateway


class Command(BaseCommand):
    """``provision_broker --directory DIR``; existing secrets stay.

    So it is safe to run again.
    """

    help = (
        "Write Mosquitto's password and ACL files for admin, django_backend, dashboard "
        "and each active gateway."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the directory, its owner, and whose secrets to renew or print."""
        parser.add_argument(
            "--directory", type=Path, required=True, help="where passwords, acl and secrets/ are kept"
        )
        parser.add_argument(
            "--owner", help="user (name or number) that the broker runs as; passwords and acl are given to it"
        )
        parser.add_argument(
            "--rotate", action="append", default=[], metavar="USER", help="make a new secret for this user"
        )
        parser.add_argument(
            "--show", action="append", default=[], metavar="USER", help="print the secret of this user"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the files and say what is new.

        Raises CommandError if that is not possible.
        """
        files = BrokerFiles(options["directory"], _user_id(options["owner"]))
        rows = Gateway.objects.filter(is_active=True).order_by("mac").values_list("mac", "device_id")
        gateways = [GatewayAccount(mac, device_id or "") for mac, device_id in rows]
        try:
            done = files.provision(settings.MQTT_TOPIC_PREFIX, gateways, options["rotate"])
            shown = {user: files.secret(user) for user in options["show"]}
        except FileNotFoundError as error:
            raise CommandError(f"no such user: {Path(error.filename).name}") from error
        except (OSError, ValueError) as error:
            raise CommandError(f"nothing was changed for the broker: {error}") from error
        self.stdout.write(
            f"[OK] {len(PLATFORM_USERS)} platform users and {len(gateways)} gateways in {files.directory}: "
            f"{len(done.created)} new secrets, {len(done.removed)} users removed"
        )
        if done.changed:
            self.stdout.write(f"     password_file {files.passwords}\n     acl_file {files.acl}")
            self.stdout.write(f"     secrets of one user each in {files.secrets}/; the consumer's:")
            self.stdout.write(
                f"     MQTT_BROKER_USER={BACKEND} MQTT_BROKER_PASSWORD_FILE={files.secrets / BACKEND}"
            )
            self.stdout.write(
                "[WARN] a running broker reads them at SIGHUP: send it only while the consumer is connected"
            )
        else:
            self.stdout.write("     nothing changed for the broker")
        for user, secret in shown.items():
            self.stdout.write(f"{user} {secret}")


def _user_id(owner: str | None) -> int | None:
    """Return the id of a user given by name or number; None for None.

    Raises CommandError if no user has that name.
    """
    if owner is None or owner.isdigit():
        return int(owner) if owner else None
    try:
        return pwd.getpwnam(owner).pw_uid
    except KeyError:
        raise CommandError(f"--owner {owner}: no such user on this machine") from None
