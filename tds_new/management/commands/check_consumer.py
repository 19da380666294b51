"""``check_consumer``: for health checks and monitoring."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from tds_new.management.arguments import word
from tds_new.models import ConsumerStatus
from tds_new.queries.consumers import is_silent


class Command(BaseCommand):
    """Says whether a consumer is connected and alive; exit status 1 if not."""

    help = "Say whether the consumer is connected to the broker and alive; exit status 1 where it is not."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the client id; the settings have its default."""
        parser.add_argument(
            "--client-id", type=word, default=settings.MQTT_CLIENT_ID, help="MQTT client id of the consumer"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line. Raises CommandError if the consumer is not at work."""
        client_id = options["client_id"]
        consumer = ConsumerStatus.objects.filter(client_id=client_id).first()
        if consumer is None:
            raise CommandError(f"no consumer {client_id} has ever reported")
        seen = f"{consumer.updated_at:%Y-%m-%d %H:%M:%SZ}" if consumer.updated_at else "never"
        if is_silent(consumer):
            raise CommandError(f"consumer {client_id} on {consumer.host} has been silent since {seen}")
        if consumer.estado != ConsumerStatus.Estado.CONNECTED:
            raise CommandError(f"consumer {client_id} on {consumer.host} is {consumer.estado} (seen {seen})")
        self.stdout.write(f"[OK] consumer {client_id} on {consumer.host} is connected (seen {seen})")
