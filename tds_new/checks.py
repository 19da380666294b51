"""Check settings against the database.

``migrate`` and ``check --database default`` run these checks.
"""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections

from tds_new.storage import rollups


@register(Tags.database)
def days_follow_the_settings(
    app_configs: Any, databases: Sequence[str] | None = None, **options: Any
) -> list[CheckMessage]:
    """Refuse a zone other than the one that days and months were made for."""
    zones = {alias: rollups.zone_of(connections[alias]) for alias in databases or []}
    return [
        Error(wrong_zone(zone), id="tds_new.E001")
        for zone in zones.values()
        if zone and zone != settings.TDS_TIME_ZONE
    ]


def wrong_zone(zone: str) -> str:
    """Return what to say of sums that were made for ``zone`` while another is set."""
    return (
        f"TDS_TIME_ZONE is {settings.TDS_TIME_ZONE}, but days and months in this database "
        f"are those of {zone}: set it back"
    )
