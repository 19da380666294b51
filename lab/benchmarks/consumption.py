"""The parts of ``benchmark_consumption``."""

from collections.abc import Mapping

from lab.benchmarks import delay, late, storage, throughput
from lab.benchmarks.report import Part

PARTS: Mapping[str, Part] = {
    "throughput": Part(
        "One worker, one core", throughput.measure, throughput.requirements, throughput.section
    ),
    "delay": Part("From reading to block", delay.measure, delay.requirements, delay.section),
    "late": Part("Late data", late.measure, late.requirements, late.section),
    "storage": Part("On disk", storage.measure, storage.requirements, storage.section),
}
HEAD = (
    "# Consumption benchmark",
    "",
    "Broker, database, consumer and worker run on one machine, with the shipped settings.",
)
