"""Write the broker's files for the platform and every active gateway."""

import pwd
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from tds_new.broker.accounts import BACKEND, PLATFORM_USERS, GatewayAccount
from tds_new.broker.files import BrokerFiles, Provisioned
from tds_new.management.arguments import folder, whole, word
from tds_new.models import Gateway

MOST_TOPICS = 20  # gateways of which a run says the topic


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
            "--directory", type=folder, required=True, help="where passwords, acl and secrets/ are kept"
        )
        parser.add_argument(
            "--owner",
            type=word,
            help="user (name or number) that the broker runs as; what it reads is given to it",
        )
        parser.add_argument(
            "--rotate",
            type=word,
            action="append",
            default=[],
            metavar="USER",
            help="make a new secret for this user",
        )
        parser.add_argument(
            "--show",
            type=word,
            action="append",
            default=[],
            metavar="USER",
            help="print the secret of this user",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the files and say what is new.

        Raises CommandError if that is not possible.
        """
        files = BrokerFiles(options["directory"], _user_id(options["owner"]))
        rows = Gateway.objects.filter(is_active=True).order_by("mac").values_list("mac", "device_id")
        gateways = [GatewayAccount(mac, device_id or "") for mac, device_id in rows]
        try:
            done = files.provision(
                settings.MQTT_TOPIC_PREFIX,
                gateways,
                options["rotate"],
                websockets=settings.TDS_MQTT_WEBSOCKETS,
            )
            shown = {user: files.secret(user) for user in options["show"]}
        except FileNotFoundError as error:
            raise CommandError(f"no such user: {Path(error.filename).name}") from error
        except (OSError, ValueError) as error:
            raise CommandError(f"nothing was changed for the broker: {error}") from error
        self.stdout.write(
            f"[OK] {len(PLATFORM_USERS)} platform users and {len(gateways)} gateways in {files.directory}: "
            f"{len(done.created)} new secrets, {len(done.removed)} users removed"
        )
        self._say_where(files, done)
        self._say_topics(gateways, {*done.created, *options["show"]})
        self._say_what_to_do(done)
        for user, secret in shown.items():
            self.stdout.write(f"{user} {secret}")

    def _say_where(self, files: BrokerFiles, done: Provisioned) -> None:
        if not done.changed:
            self.stdout.write("     nothing changed for the broker")
            return
        self.stdout.write(f"     password_file {files.passwords}\n     acl_file {files.acl}")
        self.stdout.write(
            f"     plugin_opt_config_file {files.restrictions}\n     include_dir {files.listeners}"
        )
        self.stdout.write(f"     secrets of one user each in {files.secrets}/; the consumer's:")
        self.stdout.write(
            f"     MQTT_BROKER_USER={BACKEND} MQTT_BROKER_PASSWORD_FILE={files.secrets / BACKEND}"
        )
        self.stdout.write(
            f"     where several consumers share the work: MQTT_SHARE_GROUP_FILE={files.share_group}"
        )

    def _say_topics(self, gateways: Sequence[GatewayAccount], users: set[str]) -> None:
        """Say where the gateways among ``users`` publish."""
        prefix = settings.MQTT_TOPIC_PREFIX
        wanted = [gateway for gateway in gateways if gateway.user in users]
        for gateway in wanted[:MOST_TOPICS]:
            self.stdout.write(f"     user {gateway.user} publishes to {gateway.topic(prefix)}")
        if len(wanted) > MOST_TOPICS:
            self.stdout.write(f"     and {len(wanted) - MOST_TOPICS} more: {prefix}/USER/telemetry")

    def _say_what_to_do(self, done: Provisioned) -> None:
        if done.restart:
            self.stdout.write(
                "[WARN] start a running broker again, while the consumer runs: it reads restrictions and "
                "listeners only then. At SIGHUP it lets new gateways in, but without restrictions"
            )
        elif done.changed:
            self.stdout.write(
                "[WARN] a running broker reads them at SIGHUP: send it only while the consumer is connected"
            )


def _user_id(owner: str | None) -> int | None:
    """Return the id of a user given by name or number; None for None.

    Raises CommandError if no user has that name.
    """
    if owner is None:
        return None
    try:
        return whole(0, 2**31 - 1)(owner) if owner.isdecimal() else pwd.getpwnam(owner).pw_uid
    except (KeyError, ArgumentTypeError):
        raise CommandError(f"--owner {owner}: no such user on this machine") from None
