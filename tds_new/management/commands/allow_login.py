"""``allow_login``: lets somebody try to log in again at once."""

from argparse import ArgumentParser
from ipaddress import ip_address
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tds_new.logs import printable
from tds_new.models import User
from tds_new.web.login.limits import allow


class Command(BaseCommand):
    """Forgets failed logins of a person, of a network, or of both."""

    help = (
        "Forget the failed logins of a person or a network. With both, the network becomes known as the "
        "person's: for 30 days no attacker from elsewhere can keep the person out there."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the person and the network; one of them is needed."""
        parser.add_argument("email", nargs="?", default="", help="the person's address")
        parser.add_argument("--network", default="", metavar="ADDRESS", help="an IP address in the network")

    def handle(self, *args: Any, **options: Any) -> None:
        """Forget, and say how much it was. Raises CommandError."""
        email, address = options["email"], options["network"]
        if not email and not address:
            raise CommandError("name a person, or a network with --network")
        try:
            if address:
                ip_address(address)
            forgotten = allow(email, address)
        except ValueError as error:
            raise CommandError(str(error)) from error
        except User.DoesNotExist as error:
            raise CommandError(f"nobody has the address {printable(email)}") from error
        self.stdout.write(f"[OK] {forgotten} counters of failed logins are gone")
