"""The project's addresses: the admin and the application."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("tds_new.web.urls")),
]
