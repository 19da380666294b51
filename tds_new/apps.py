"""The one Django application."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class OperationAdminConfig(admin_apps.AdminConfig):
    """Django's admin, with the operator's site."""

    default = False
    default_site = "tds_new.operation_site.OperationSite"


class TdsNewConfig(AppConfig):
    """Telemetry of meters behind gateways, per Conta."""

    name = "tds_new"
    verbose_name = "TDS New"

    def ready(self) -> None:
        """Make our checks known."""
        from tds_new import checks  # noqa: F401 - registers them
