"""Store what simulated gateways had measured before they reached the broker.

It enters through the processor, as every reading does.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

from django.conf import settings
from django.utils.timezone import now

from tds_new.demo.simulation import SimulatedGateway, schedule, simulated
from tds_new.ingestion.message import Message
from tds_new.ingestion.telemetry_processor import BatchResult, open_processor
from tds_new.models import Gateway

STEP = timedelta(minutes=15)
BATCH = 500


def send_backlog(gateways: list[Gateway], days: int) -> BatchResult:
    """Store what the gateways measured since their last reading.

    They measured every 15 minutes; at most ``days`` are stored. Returns the outcome.

    A register is a function of time, so the backlog joins what was stored before and what is published from
    now on.
    """
    end = now()
    total = BatchResult()
    messages = _messages(gateways, end - timedelta(days=days), end)
    with open_processor() as processor:
        while batch := list(islice(messages, BATCH)):
            total.add(processor.process(batch))
    return total


def _messages(gateways: list[Gateway], earliest: datetime, end: datetime) -> Iterator[Message]:
    for gateway in gateways:
        for simulation in simulated([gateway]):
            yield from _messages_of(
                simulation,
                max(earliest, gateway.aceita_leituras_desde, _last_reading(gateway, earliest)),
                end,
            )


def _last_reading(gateway: Gateway, default: datetime) -> datetime:
    return max(
        (device.last_seen for device in gateway.dispositivos.all() if device.last_seen), default=default
    )


def _messages_of(gateway: SimulatedGateway, start: datetime, end: datetime) -> Iterator[Message]:
    topic, since = gateway.topic(settings.MQTT_TOPIC_PREFIX, "telemetry"), start
    for moment in schedule(start, end, STEP):
        yield Message(topic=topic, payload=gateway.telemetry(moment, since), received_at=end)
        since = moment
