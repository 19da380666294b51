"""The dashboard's queries over a year of a thousand devices.

The same questions are asked of raw readings for comparison.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings

from lab.benchmarks import bench, dataset, history
from lab.benchmarks.figures import PERCENTILES, RAW_TIMEOUT_MS, Requirement, at_most, nothing
from lab.benchmarks.report import Part
from lab.harness.errors import LabError
from lab.harness.report import paragraph, table
from tds_new.embedded import child

HEAD = ("# Query benchmark", "", "The dashboard's queries on one machine, with the shipped settings.")
MONTH = timedelta(days=365) / 12
SEED = 20261121
CHECKED = timedelta(days=30)  # the ledger computes so much again of the devices that are checked
SAMPLE = "SELECT id FROM tds_new_dispositivo ORDER BY id %% 7, id LIMIT %s"


@dataclass(frozen=True)
class Sizes:
    """The sizes of the measurement; each field is an option of ``benchmark_queries``."""

    devices: int = 1_000
    months: int = 12
    samples: int = 200
    raw: int = 5
    checked: int = 3


Bench = bench.Bench[Sizes]


@dataclass(frozen=True)
class Queries:
    """The figures of the part.

    They are those of the data set, and each question's times (``query_process.QuestionTimes``).

    ``settled_in`` is in seconds; ``differing`` and ``wrong_sums`` count what is wrong with the data set.
    """

    filled: dict[str, Any]
    months: int
    settled_in: float
    checked: int
    differing: int
    wrong_sums: int
    readings: dict[str, int]
    samples: int
    raw: int
    answers: list[dict[str, Any]]


def measure(bench: Bench, *, one_conta: bool = False) -> Queries:
    """Make the data set and ask. Raises LabError if the questions cannot be asked."""
    sizes, environment = bench.sizes, bench.environment
    end = datetime.now(UTC)
    end -= timedelta(seconds=end.timestamp() % 900)
    start = end - sizes.months * MONTH
    start -= timedelta(seconds=start.timestamp() % 900)
    with environment.connect() as connection:
        dataset.clear_fleet(connection)
        dataset.register(connection, sizes.devices, one_conta=one_conta)
    filled = dataset.fill(environment.url(), start, end, bench.progress("readings and blocks made", 50))
    bench.say(
        f"{filled.readings:,} readings and {filled.blocks:,} blocks in {filled.seconds:.0f} s; "
        "statistics and aggregates"
    )
    with environment.connect() as connection:
        began = time.monotonic()
        connection.execute("SET jit = off")
        history.settle(connection)
        settled = time.monotonic() - began
        readings = history.describe(connection)
        devices = [pk for (pk,) in connection.execute(SAMPLE, [sizes.checked]).fetchall()]
        bench.say(f"aggregates in {settled:.0f} s; {len(devices)} devices are computed by the ledger")
        differing = dataset.differing(connection, devices, end - CHECKED)
        wrong_sums = dataset.wrong_sums(connection)
    return Queries(
        asdict(filled),
        sizes.months,
        settled,
        checked=len(devices),
        differing=differing,
        wrong_sums=wrong_sums,
        readings=readings,
        samples=sizes.samples,
        raw=sizes.raw,
        answers=_ask(bench, start, end),
    )


def _ask(bench: Bench, start: datetime, end: datetime) -> list[dict[str, Any]]:
    """Ask in a process of its own, after a restart of the server.

    So nothing is in the server's memory yet.
    """
    environment, sizes = bench.environment, bench.sizes
    environment.postgres.stop()
    environment.postgres.start(environment.database)
    job = {
        "samples": sizes.samples,
        "raw": sizes.raw,
        "start": start.isoformat(),
        "now": end.isoformat(),
        "seed": SEED,
    }
    process = child.spawn(
        [sys.executable, "-m", "lab.benchmarks.query_process", json.dumps(job)],
        output=subprocess.PIPE,
        environment=environment.variables,
        folder=Path(settings.BASE_DIR),
    )
    assert process.stderr is not None
    assert process.stdout is not None
    errors: list[str] = []
    with process.stdout, process.stderr:
        try:
            for line in process.stderr:
                errors.append(line.decode("utf-8", "replace").rstrip())
                bench.say(errors[-1])
            result = process.stdout.read()
        finally:
            process.kill()
            process.wait()
    try:
        answers: list[dict[str, Any]] = json.loads(result)
    except ValueError:
        raise LabError(f"the questions could not be asked: {' / '.join(errors[-3:])}") from None
    return answers


def requirements(figures: dict[str, Any]) -> list[Requirement]:
    """Require a bound of each question's p95, and that the data set is right."""
    where = "one Conta: " if figures["filled"]["contas"] == 1 else ""
    times = [
        at_most(f"{where}{answer['name']}, p95", answer["limit"], answer["first"]["p95"], "ms", 1)
        for answer in figures["answers"]
    ]
    differing = f"{where}blocks of {figures['checked']} devices that the ledger computes otherwise"
    wrong_sums = f"{where}devices whose hours, days or months are not the sum of their blocks"
    return [*times, nothing(differing, figures["differing"]), nothing(wrong_sums, figures["wrong_sums"])]


def section(figures: dict[str, Any]) -> list[str]:
    """Describe the data set, and each question's times."""
    filled, readings = figures["filled"], figures["readings"]
    contas = "one Conta" if filled["contas"] == 1 else f"{filled['contas']} Contas of one device and more"
    head = (
        "question",
        *PERCENTILES,
        "processor p50",
        "p95",
        "again p50",
        "p95",
        "statements",
        "raw",
        "raw / p50",
    )
    return [
        *paragraph(
            f"{filled['devices']:,} devices in {contas}, {figures['months']} months of five-minute readings:",
            f"{filled['readings']:,} readings and {filled['blocks']:,} blocks, made in the database in",
            f"{filled['seconds']:.0f} s, statistics and aggregates in {figures['settled_in']:.0f} s. The",
            f"readings are in {readings['chunks']} chunks, of which {readings['compressed']} are compressed,",
            f"{readings['bytes'] / 1e9:.1f} GB with indexes.",
        ),
        "",
        *paragraph(
            f"Each question is asked of {figures['samples']} random Contas, devices and months: first in a",
            "session whose server has just been started (required is the p95 of these), then three times",
            "more, of which the best counts. Processor: what the first time took of one, the database's",
            "session included; the rest of the time it waited. Raw: the same of the readings (differences",
            f"alone, no rules of metering), the median of {figures['raw']}, of fewer where that takes more",
            "than 30 s.",
        ),
        "",
        *table(head, [_cells(answer) for answer in figures["answers"]]),
    ]


def _cells(answer: dict[str, Any]) -> list[str]:
    first, busy, again, raw = answer["first"], answer["busy"], answer["again"], answer["raw"]
    times = [*(first[name] for name in PERCENTILES), busy["p50"], busy["p95"], again["p50"], again["p95"]]
    more = "> " if raw is not None and raw >= RAW_TIMEOUT_MS else ""
    beside = ["", ""] if raw is None else [f"{more}{raw:,.0f} ms", f"{more}{raw / first['p50']:,.0f}"]
    return [answer["name"], *(f"{ms:.1f} ms" for ms in times), f"{answer['statements']:.0f}", *beside]


PARTS: Mapping[str, Part] = {
    "contas": Part("The dashboard's questions, Contas of all sizes", measure, requirements, section),
    "one-conta": Part(
        "The same questions, one Conta that has all devices",
        partial(measure, one_conta=True),
        requirements,
        section,
    ),
}
