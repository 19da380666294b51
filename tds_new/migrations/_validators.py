"""What the models' validators and defaults are to migrations, frozen.

Migrations record fields with their validators and defaults. The live ones name the classes of this module as what
they are in a migration (``deconstructible(path=...)``), so they can move and change without any migration noticing.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.utils.deconstruct import deconstructible
from django.utils.timezone import now


@deconstructible
class CNPJValidator:
    """Stands for the validator of a Conta's CNPJ. Migrations validate nothing."""

    def __call__(self, value: str) -> None:
        """Accept every value."""


@deconstructible
class TimeZoneValidator:
    """Stands for the validator of a Conta's time zone. Migrations validate nothing."""

    def __call__(self, value: str) -> None:
        """Accept every value."""


@deconstructible
class HistoryStart:
    """The default of a gateway's oldest reading time."""

    def __call__(self) -> datetime:
        """Return the oldest reading time that a gateway registered now may send."""
        return now() - timedelta(days=settings.TDS_HISTORY_DAYS)
