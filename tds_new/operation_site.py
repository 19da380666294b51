"""The admin's site: its list of models says how many readings wait for somebody.

Its login is the platform's: there is one page that asks for an address and a password.
"""

from typing import Any

from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LogoutView
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache

from tds_new.models import LeituraEmRevisao
from tds_new.queries.waiting import waiting_readings
from tds_new.strict_admin import StrictAdmin
from tds_new.web.login.doors import OwnPasswordChange


class OperationSite(AdminSite):
    """The admin of the platform's operator."""

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Register models, also those of other applications, with strict pages."""
        given = admin_class or ModelAdmin
        strict = type(given.__name__, (StrictAdmin, given), {"__module__": given.__module__})
        super().register(model_or_iterable, strict, **options)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the models by application, with how many readings wait for somebody."""
        apps = super().get_app_list(request, app_label)
        for entry in [model for app in apps for model in app["models"]]:
            if entry["model"] is LeituraEmRevisao and (waiting := waiting_readings().for_people):
                entry["name"] = f"{entry['name']} ({waiting})"
        return apps

    @method_decorator(never_cache)
    @method_decorator(login_not_required)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Lead to the one login page; a password that is sent here is not looked at.

        Raises PermissionDenied for people who are logged in and have no access to the admin.
        """
        index = reverse("admin:index", current_app=self.name)
        if self.has_permission(request):
            return HttpResponseRedirect(index)
        if request.user.is_authenticated:
            raise PermissionDenied
        target = request.POST.get(REDIRECT_FIELD_NAME) or request.GET.get(REDIRECT_FIELD_NAME) or index
        return HttpResponseRedirect(f"{resolve_url('login')}?{urlencode({REDIRECT_FIELD_NAME: target})}")

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Log out as everywhere else, to the login page."""
        return LogoutView.as_view()(request)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the change of one's own password; the old one is checked as at the login."""
        request.current_app = self.name
        return OwnPasswordChange.as_view(
            success_url=reverse("admin:password_change_done", current_app=self.name),
            extra_context={**self.each_context(request), **(extra_context or {})},
        )(request)
