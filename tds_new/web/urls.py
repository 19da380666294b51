"""The addresses of the web; everything of a Conta lies under ``/c/<conta>/``."""

from django.contrib.auth.views import LogoutView
from django.urls import include, path

from tds_new.web.health import healthz
from tds_new.web.login import doors
from tds_new.web.metrics import metrics
from tds_new.web.views import dashboard, export, lists, people

conta_urls = [
    path("painel/", dashboard.page, name="dashboard"),
    path("painel/dados/", dashboard.data, name="dashboard-data"),
    path("painel/consumo.csv", export.consumption, name="consumption-csv"),
    path("dispositivos/", lists.devices, name="device-list"),
    path("gateways/", lists.gateways, name="gateway-list"),
]

urlpatterns = [
    path("", people.home, name="home"),
    path("entrar/", doors.Login.as_view(), name="login"),
    path("sair/", LogoutView.as_view(), name="logout"),
    path("contas/", people.choose_conta, name="conta-choice"),
    path("telemetria/", people.legacy_address, name="telemetry"),
    path("tema/", people.set_theme, name="theme"),
    path("i18n/", include("django.conf.urls.i18n")),
    path("healthz", healthz, name="healthz"),
    path("metrics", metrics, name="metrics"),
    path("favicon.ico", people.favicon, name="favicon"),
    path("c/<int:conta>/", include(conta_urls)),
]
