"""Addresses of the web. Everything of a tenant lies under ``/c/<conta>/``."""

from django.contrib.auth.views import LogoutView
from django.urls import include, path

from tds_new.web.health import healthz
from tds_new.web.metrics import metrics
from tds_new.web.views import dashboard, lists, people

da_conta = [
    path("painel/", dashboard.painel, name="painel"),
    path("painel/dados/", dashboard.dados, name="painel-dados"),
    path("dispositivos/", lists.dispositivos, name="dispositivo-lista"),
    path("gateways/", lists.gateways, name="gateway-lista"),
]

urlpatterns = [
    path("", people.inicio, name="inicio"),
    path("entrar/", people.Entrar.as_view(), name="entrar"),
    path("sair/", LogoutView.as_view(), name="sair"),
    path("contas/", people.escolha, name="conta-escolha"),
    path("telemetria/", people.telemetria, name="telemetria"),
    path("tema/", people.tema, name="tema"),
    path("i18n/", include("django.conf.urls.i18n")),
    path("healthz", healthz, name="healthz"),
    path("metrics", metrics, name="metrics"),
    path("favicon.ico", people.favicon, name="favicon"),
    path("c/<int:conta>/", include(da_conta)),
]
