"""The admin's site: its list of models says how many readings wait for somebody."""

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest

from tds_new.models import LeituraEmRevisao
from tds_new.queries.waiting import waiting_readings


class OperationSite(AdminSite):
    """The admin of the platform's operator."""

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the models by application, with how many readings wait for somebody."""
        apps = super().get_app_list(request, app_label)
        for entry in [model for app in apps for model in app["models"]]:
            if entry["model"] is LeituraEmRevisao and (waiting := waiting_readings().for_people):
                entry["name"] = f"{entry['name']} ({waiting})"
        return apps
