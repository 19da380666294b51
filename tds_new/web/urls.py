"""Addresses of the web. Everything of a tenant lies under ``/c/<conta>/``."""

from django.contrib.auth.views import LogoutView
from django.urls import include, path

from tds_new.web.metricas import metrics
from tds_new.web.saude import healthz
from tds_new.web.views import listas, painel, pessoas

da_conta = [
    path("painel/", painel.painel, name="painel"),
    path("painel/dados/", painel.dados, name="painel-dados"),
    path("dispositivos/", listas.dispositivos, name="dispositivo-lista"),
    path("gateways/", listas.gateways, name="gateway-lista"),
]

urlpatterns = [
    path("", pessoas.inicio, name="inicio"),
    path("entrar/", pessoas.Entrar.as_view(), name="entrar"),
    path("sair/", LogoutView.as_view(), name="sair"),
    path("contas/", pessoas.escolha, name="conta-escolha"),
    path("telemetria/", pessoas.telemetria, name="telemetria"),
    path("tema/", pessoas.tema, name="tema"),
    path("i18n/", include("django.conf.urls.i18n")),
    path("healthz", healthz, name="healthz"),
    path("metrics", metrics, name="metrics"),
    path("favicon.ico", pessoas.favicon, name="favicon"),
    path("c/<int:conta>/", include(da_conta)),
]
