"""Alert rules and the Grafana dashboard are valid, and every figure that they use exists."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from tds_new.ingestion.consumer import Consumer, ConsumerOptions
from tds_new.ingestion.transport import BrokerConfig
from tds_new.models import ConsumerStatus, Motivo
from tds_new.web import metrics
from tests.support.paths import ROOT

pytestmark = pytest.mark.once

INFRASTRUCTURE = ROOT / "infrastructure"
ALERTS = INFRASTRUCTURE / "prometheus" / "alerts.yml"
DASHBOARD = INFRASTRUCTURE / "grafana" / "tds-new.json"


def rules() -> list[dict[str, Any]]:
    return [
        rule
        for group in yaml.safe_load(ALERTS.read_text(encoding="ascii"))["groups"]
        for rule in group["rules"]
    ]


def panels() -> list[dict[str, Any]]:
    return list(json.loads(DASHBOARD.read_text(encoding="ascii"))["panels"])


def expressions() -> list[str]:
    return [rule["expr"] for rule in rules()] + [
        target["expr"] for panel in panels() for target in panel["targets"]
    ]


def names_in(registry: CollectorRegistry) -> set[str]:
    """Return the names of a registry's samples as Prometheus stores them.

    The names of a figure without a sample follow from its kind.
    """
    endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}
    return {family.name + ending for family in registry.collect() for ending in endings[family.type]}


@pytest.fixture
def known(db: None) -> set[str]:
    """The figures of a consumer and of the web."""
    consumer = Consumer(ConsumerOptions(BrokerConfig("127.0.0.1", 9), "test"))
    try:
        return names_in(consumer._metrics.registry) | names_in(metrics.registry())
    finally:
        consumer._subscriber.disconnect()  # its wake-up sockets


def test_every_figure_asked_for_exists(known: set[str]) -> None:
    asked = {name for expression in expressions() for name in re.findall(r"\btds_\w+", expression)}
    assert len(asked) > 15
    assert asked - known == set()


def test_every_figure_there_is_is_on_the_dashboard(known: set[str]) -> None:
    shown = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    assert {
        name
        for name in known
        if not name.endswith(("_sum", "_count")) and not re.search(rf"\b{name}\b", shown)
    } <= {
        "tds_batch_messages_bucket"  # shown as a mean
    }


def test_reasons_and_outcomes_asked_for_exist() -> None:
    asked = {reason for expression in expressions() for reason in re.findall(r'reason="(\w+)"', expression)}
    assert asked
    assert asked <= set(Motivo.values)


def test_a_figure_that_is_gone_would_be_found(known: set[str]) -> None:
    assert "tds_readings_total" in known
    assert "tds_readings" not in known


def test_every_alert_says_how_grave_it_is_and_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names) > 10
    for rule in rules():
        assert rule["labels"]["severity"] in {"warning", "critical"}, rule["alert"]
        assert rule["annotations"].keys() == {"summary", "description"}, rule["alert"]


def test_the_panels_of_the_dashboard_have_a_place_of_their_own() -> None:
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels())
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) == 23
    assert len({panel["id"] for panel in panels()}) == len(panels())


@pytest.mark.django_db
def test_a_consumer_that_falls_silent_makes_the_figure_that_the_alert_asks_for() -> None:
    ConsumerStatus.objects.create(client_id="lost", estado="connected")
    assert metrics.registry().get_sample_value("tds_platform_consumers_silent") == 1
    assert "tds_platform_consumers_silent > 0" in {rule["expr"] for rule in rules()}


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed here (Debian package prometheus)"
)
def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    checked = subprocess.run(
        ["promtool", "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr + checked.stdout
    # The dashboard's expressions are no rules, but the same language.
    shown = [
        target["expr"].replace("$__rate_interval", "5m") for panel in panels() for target in panel["targets"]
    ]
    made = {
        "groups": [
            {
                "name": "dashboard",
                "rules": [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(shown)],
            }
        ]
    }
    (tmp_path / "dashboard.yml").write_text(yaml.safe_dump(made), encoding="utf-8")
    checked = subprocess.run(
        ["promtool", "check", "rules", str(tmp_path / "dashboard.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr + checked.stdout
