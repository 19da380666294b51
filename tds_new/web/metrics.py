"""The platform's figures for Prometheus, out of the database (``/metrics``).

Only the addresses of ``TDS_WEB_METRICS_ALLOW`` get them.
"""

from collections.abc import Iterator
from ipaddress import ip_address

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Count, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.timezone import now
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from tds_new.models import ConsumerStatus, Gateway, ManutencaoExecucao, RejeicaoContador
from tds_new.queries import fleet
from tds_new.queries.consistency import check_consumption
from tds_new.queries.consumers import is_silent
from tds_new.web.client_ip import client_ip


class PlatformCollector(Collector):
    """Collects the figures with five statements, whatever the size of the fleet.

    Every web process answers the same.
    """

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield all figures, out of the database.

        Raises DatabaseError.
        """
        yield from _gateways()
        yield _rejected()
        yield from _consumers()
        yield from _consumption()
        yield _maintenance()


def _gateways() -> Iterator[GaugeMetricFamily]:
    counts = Gateway.objects.filter(is_active=True).aggregate(
        total=Count("pk"), online=Count("pk", filter=fleet.online(now()))
    )
    yield GaugeMetricFamily("tds_platform_gateways", "Active gateways", counts["total"])
    yield GaugeMetricFamily(
        "tds_platform_gateways_online", "Active gateways that are heard", counts["online"]
    )


def _rejected() -> GaugeMetricFamily:
    """Return how many messages and readings were ever rejected, by reason.

    It is a gauge: it falls where a gateway is deleted, which Prometheus would take for the reset of a
    counter.
    """
    family = GaugeMetricFamily(
        "tds_platform_rejected", "Messages and readings ever rejected, by reason", labels=["reason"]
    )
    totals = RejeicaoContador.objects.order_by("motivo").values_list("motivo").annotate(Sum("total"))
    for motivo, total in totals:
        family.add_metric([motivo], total)
    return family


def _consumers() -> Iterator[GaugeMetricFamily]:
    consumers = list(ConsumerStatus.objects.defer("counters"))
    connected = [c for c in consumers if c.estado == ConsumerStatus.Estado.CONNECTED and not is_silent(c)]
    yield GaugeMetricFamily(
        "tds_platform_consumers_connected", "Consumers that said lately that they receive", len(connected)
    )
    silent = sum(is_silent(c) for c in consumers)
    yield GaugeMetricFamily(
        "tds_platform_consumers_silent", "Consumers that should have been heard of", silent
    )
    family = GaugeMetricFamily(
        "tds_platform_last_commit_age_seconds", "Time since any consumer committed a batch"
    )
    if commits := [c.last_batch_at for c in consumers if c.last_batch_at]:
        family.add_metric([], max(0.0, (now() - max(commits)).total_seconds()))
    yield family


def _consumption() -> Iterator[GaugeMetricFamily]:
    found = check_consumption()
    yield GaugeMetricFamily(
        "tds_platform_consumption_wait_seconds", "Wait of the oldest reading for its block", found.waiting_s
    )
    yield GaugeMetricFamily(
        "tds_platform_consumption_failed_devices", "Devices that cannot be computed", len(found.failed)
    )
    yield GaugeMetricFamily(
        "tds_platform_consumption_rebuild_devices",
        "Devices with something that only rebuild_consumption computes",
        found.to_rebuild,
    )


def _maintenance() -> GaugeMetricFamily:
    """Return the time left to each maintenance task; negative once it is overdue."""
    family = GaugeMetricFamily(
        "tds_platform_upkeep_left_seconds",
        "Time left in which a maintenance task should succeed again",
        labels=["name"],
    )
    for name, deadline in ManutencaoExecucao.objects.values_list("nome", "prazo"):
        family.add_metric([name], (deadline - now()).total_seconds() if deadline else -1.0)
    return family


def registry() -> CollectorRegistry:
    """Return a registry that asks the database when it is collected, not before."""
    made = CollectorRegistry(auto_describe=False)
    made.register(PlatformCollector())
    return made


def allowed(address: str) -> bool:
    """Return whether ``address`` may see the figures."""
    try:
        ip = ip_address(address)
    except ValueError:  # a socket in the file system has no address
        return False
    return any(ip in network for network in settings.TDS_WEB_METRICS_ALLOW)


def metrics(request: HttpRequest) -> HttpResponse:
    """Return the figures as text for Prometheus, or 503 while the database is away.

    Raises Http404 for an address that is not allowed.
    """
    if not allowed(client_ip(request)):
        raise Http404
    return _figures(request)


@require_safe
def _figures(request: HttpRequest) -> HttpResponse:
    try:
        return HttpResponse(generate_latest(registry()), content_type=CONTENT_TYPE_PLAIN_0_0_4)
    except DatabaseError:
        return HttpResponse(
            "the database does not answer\n", content_type="text/plain; charset=utf-8", status=503
        )
