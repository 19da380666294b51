"""Since when today's rules hold for a device, and what waits for a rebuild."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

EDITION = """
SELECT segunda_edicao_desde, reconstruir_desde IS NOT NULL, nullif(reconstruir_desde, '-infinity')
FROM tds_new_consumo_estado WHERE dispositivo_id = %s AND isfinite(segunda_edicao_desde)
"""


@dataclass(frozen=True, slots=True)
class Edition:
    """A device whose earlier blocks are by the rules of the first edition.

    Those of today hold from ``since`` on. With ``waiting`` something before it has changed, and only
    ``rebuild_consumption`` computes it: from ``waiting_since`` on, or from the device's beginning (None).
    """

    since: datetime
    waiting: bool
    waiting_since: datetime | None


def first_edition(device_id: int) -> Edition | None:
    """Return what a device has of the first edition; None if nothing."""
    with connection.cursor() as cursor:
        cursor.execute(EDITION, [device_id])
        row = cursor.fetchone()
    return Edition(*row) if row else None
