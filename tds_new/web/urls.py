"""Addresses of the web. Everything of a tenant lies under ``/c/<conta>/``."""

from django.contrib.auth.views import LogoutView
from django.urls import include, path

from tds_new.web.health import healthz
from tds_new.web.metrics import metrics
from tds_new.web.views import dashboard, lists, people

conta_urls = [
    path("painel/", dashboard.page, name="painel"),
    path("painel/dados/", dashboard.data, name="painel-dados"),
    path("dispositivos/", lists.devices, name="dispositivo-lista"),
    path("gateways/", lists.gateways, name="gateway-lista"),
]

urlpatterns = [
    path("", people.home, name="inicio"),
    path("entrar/", people.Login.as_view(), name="entrar"),
    path("sair/", LogoutView.as_view(), name="sair"),
    path("contas/", people.choose_conta, name="conta-escolha"),
    path("telemetria/", people.legacy_address, name="telemetria"),
    path("tema/", people.set_theme, name="tema"),
    path("i18n/", include("django.conf.urls.i18n")),
    path("healthz", healthz, name="healthz"),
    path("metrics", metrics, name="metrics"),
    path("favicon.ico", people.favicon, name="favicon"),
    path("c/<int:conta>/", include(conta_urls)),
]
