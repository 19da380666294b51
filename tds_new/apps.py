"""The one Django application."""

from django.apps import AppConfig


class TdsNewConfig(AppConfig):
    """Telemetry of meters behind gateways, per Conta."""

    name = "tds_new"
    verbose_name = "TDS New"

    def ready(self) -> None:
        """Make our checks known."""
        from tds_new import checks  # noqa: F401 - registers them
