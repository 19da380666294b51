"""The parts of ``benchmark_ingest``."""

from collections.abc import Mapping

from lab.benchmarks import fairness, growth, hostile, latency, outage, rate, registry
from lab.benchmarks.report import Part

PARTS: Mapping[str, Part] = {
    "rate": Part("Full speed", rate.measure, rate.requirements, rate.section),
    "latency": Part("Latency", latency.measure, latency.requirements, latency.section),
    "growth": Part("A table that has grown", growth.measure, growth.requirements, growth.section),
    "registry": Part("Many gateways", registry.measure, registry.requirements, registry.section),
    "outage": Part("The database away", outage.measure, outage.requirements, outage.section),
    "fairness": Part("One gateway floods", fairness.measure, fairness.requirements, fairness.section),
    "hostile": Part("Hostile gateways", hostile.measure, hostile.requirements, hostile.section),
}
HEAD = (
    "# Ingestion benchmark",
    "",
    "Broker, database, consumer and publisher run on one machine, with the shipped settings.",
)
