"""``create_demo_data``: register the demonstration and a login."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_email

from tds_new.demo.backlog import send_backlog
from tds_new.demo.fleet import (
    LOGIN,
    STAFF_LOGIN,
    TEST_SITE,
    DemoRefusedError,
    Login,
    register_demo,
    register_login,
)
from tds_new.demo.simulation import registered
from tds_new.management.arguments import secret, whole, word


class Command(BaseCommand):
    """``create_demo_data``: safe to run twice; what exists stays as it is."""

    help = (
        "Register the Conta 'Conta Teste Telemetria' with gateway GW-TEST-001, "
        "devices D01, D02 and D03, and a login."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the login, and what is registered beside the Conta."""
        parser.add_argument("--email", type=word, default=LOGIN, help=f"the login ({LOGIN})")
        parser.add_argument(
            "--password", type=secret, help="its password; without it a random one is made and printed once"
        )
        parser.add_argument(
            "--fleet", action="store_true", help="also register five gateways of a company for the simulation"
        )
        parser.add_argument(
            "--backlog",
            type=whole(0, 36_500),
            default=0,
            metavar="DAYS",
            help="also store what they measured in the last DAYS days",
        )
        parser.add_argument(
            "--staff",
            action="store_true",
            help=f"also a superuser for the admin, {STAFF_LOGIN} (embedded default only)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Register, and print the logins.

        Raises CommandError if something else is in the way.
        """
        if options["staff"] and not settings.EMBEDDED:
            raise CommandError("--staff is for the embedded default; use `manage.py createsuperuser` here")
        try:
            validate_email(options["email"])
            if options["password"]:
                validate_password(options["password"])
            conta, login = register_demo(
                fleet=options["fleet"], email=options["email"], password=options["password"] or ""
            )
        except (DemoRefusedError, ValidationError) as error:
            raise CommandError(
                "; ".join(error.messages) if isinstance(error, ValidationError) else str(error)
            ) from error
        devices = ", ".join(device.codigo for device in TEST_SITE.devices)
        self.stdout.write(
            f"[OK] Conta '{conta.name}': gateway {TEST_SITE.codigo}, MAC {TEST_SITE.mac}, devices {devices}"
        )
        self._show(login)
        if options["staff"]:
            self._show(register_login(STAFF_LOGIN, name="Operador", staff=True))
        if options["backlog"] > 0:
            result = send_backlog(
                [gateway for gateway in registered() if gateway.conta_id == conta.pk], options["backlog"]
            )
            self.stdout.write(f"[OK] {result.stored} readings of the last {options['backlog']} days stored")

    def _show(self, login: Login) -> None:
        password = f"password {login.password}" if login.password else "(password unchanged)"
        self.stdout.write(f"[OK] login {login.email} {password}")
