"""The consumers' state, judged by their last status rows."""

from datetime import timedelta

from django.db.models import QuerySet
from django.utils.timezone import now

from tds_new.models import ConsumerStatus

# A consumer writes its status every 5 seconds; while the database is away it cannot.
STALE_AFTER = timedelta(seconds=60)


def silent_consumers() -> QuerySet[ConsumerStatus]:
    """Return the consumers that should be heard but are not.

    They were not stopped, and have not written their status for :data:`STALE_AFTER`.
    """
    return ConsumerStatus.objects.exclude(estado=ConsumerStatus.Estado.STOPPED).exclude(
        updated_at__gt=now() - STALE_AFTER
    )


def is_silent(consumer: ConsumerStatus) -> bool:
    """Whether this consumer should be heard but is not."""
    if consumer.estado == ConsumerStatus.Estado.STOPPED:
        return False
    return consumer.updated_at is None or now() - consumer.updated_at >= STALE_AFTER


def dropped_by_broker(consumer: ConsumerStatus) -> int:
    """Return how many messages the broker dropped while this consumer was active.

    Only Mosquitto reports it (``$SYS``); otherwise 0.
    """
    return int(consumer.counters.get("broker_dropped", 0))
