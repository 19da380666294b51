"""What the dashboard asks of a year of a thousand devices, beside the same asked of raw readings."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings

from lab.benchmarks import bench, dataset, history
from lab.benchmarks.environment import DATABASE
from lab.benchmarks.figures import RAW_TIMEOUT_MS, Verdict, at_most, nothing
from lab.benchmarks.report import Part
from lab.harness.errors import LabError
from tds_new.embedded import child

HEAD = ("# Query benchmark", "", "The dashboard's queries on one machine, with the shipped settings.")
MONTH = timedelta(days=365) / 12
SEED = 20261121
CHECKED = timedelta(days=30)  # what the ledger computes again of the devices checked
SAMPLE = "SELECT id FROM tds_new_dispositivo ORDER BY id %% 7, id LIMIT %s"


@dataclass(frozen=True)
class Sizes:
    """How much is measured; each field is an option of ``benchmark_queries``."""

    devices: int = 1_000
    months: int = 12
    samples: int = 200
    raw: int = 5
    checked: int = 3


Bench = bench.Bench[Sizes]


@dataclass(frozen=True)
class Queries:
    """What the part found: the data set, and each question's times (``asking.Answers``)."""

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
    """Make the data set and ask. Raises LabError where the asking fails."""
    sizes, made = bench.sizes, bench.made
    end = datetime.now(UTC)
    end -= timedelta(seconds=end.timestamp() % 900)
    start = end - sizes.months * MONTH
    start -= timedelta(seconds=start.timestamp() % 900)
    with made.connect() as connection:
        dataset.forget_fleet(connection)
        dataset.register(connection, sizes.devices, one_conta=one_conta)
    filled = dataset.fill(made.url(), start, end, _progress(bench))
    bench.say(
        f"{filled.readings:,} readings and {filled.blocks:,} blocks in {filled.seconds:.0f} s; statistics and aggregates"
    )
    with made.connect() as connection:
        began = time.monotonic()
        connection.execute("SET jit = off")
        history.settle(connection)
        settled = time.monotonic() - began
        readings = history.describe(connection)
        devices = [pk for (pk,) in connection.execute(SAMPLE, [sizes.checked]).fetchall()]
        bench.say(f"aggregates in {settled:.0f} s; {len(devices)} devices are computed by the ledger")
        differing = dataset.differing(connection, devices, end - CHECKED)
        wrong_sums = dataset.wrong_sums(connection)
    answers = _ask(bench, start, end)
    return Queries(
        asdict(filled),
        sizes.months,
        settled,
        len(devices),
        differing,
        wrong_sums,
        readings,
        sizes.samples,
        sizes.raw,
        answers,
    )


def _progress(bench: Bench) -> Callable[[float], None]:
    said = 0

    def progress(share: float) -> None:
        nonlocal said
        if int(50 * share) > said:
            said = int(50 * share)
            bench.say(f"[{'#' * said:.<50}] {2 * said} % of readings and blocks made")

    return progress


def _ask(bench: Bench, start: datetime, end: datetime) -> list[dict[str, Any]]:
    """Ask in a process of its own, after a restart of the server: nothing is in its memory yet."""
    made, sizes = bench.made, bench.sizes
    made.postgres.stop()
    made.postgres.start(DATABASE)
    order = {
        "samples": sizes.samples,
        "raw": sizes.raw,
        "start": start.isoformat(),
        "now": end.isoformat(),
        "seed": SEED,
    }
    command = [sys.executable, "-m", "lab.benchmarks.query_process", json.dumps(order)]
    variables = {**made.variables, "DATABASE_URL": made.url()}
    process = child.spawn(
        command,
        output=subprocess.PIPE,
        error=subprocess.PIPE,
        environment=variables,
        folder=Path(settings.BASE_DIR),
    )
    assert process.stderr is not None
    assert process.stdout is not None
    said: list[str] = []
    with process.stdout, process.stderr:
        try:
            for line in process.stderr:
                said.append(line.decode("utf-8", "replace").rstrip())
                bench.say(said[-1])
            result = process.stdout.read()
        finally:
            process.kill()
            process.wait()
    try:
        answers: list[dict[str, Any]] = json.loads(result)
    except ValueError:
        raise LabError(f"the questions could not be asked: {' / '.join(said[-3:])}") from None
    return answers


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    """Each question's p95 beside its limit, and that the data set is right."""
    where = "one Conta: " if found["filled"]["contas"] == 1 else ""
    asked = [
        at_most(f"{where}{answer['name']}, p95", answer["limit"], answer["first"]["p95"], "ms", 1)
        for answer in found["answers"]
    ]
    return [
        *asked,
        nothing(
            f"{where}blocks of {found['checked']} devices that the ledger computes otherwise",
            found["differing"],
        ),
        nothing(
            f"{where}devices whose hours, days or months are not the sum of their blocks", found["wrong_sums"]
        ),
    ]


def section(found: dict[str, Any]) -> list[str]:
    """The data set, and each question's times."""
    filled, readings = found["filled"], found["readings"]
    chunks = f"{readings['chunks']} chunks, of which {readings['compressed']} are compressed"
    contas = "one Conta" if filled["contas"] == 1 else f"{filled['contas']} Contas of one device and more"
    lines = [
        f"{filled['devices']:,} devices in {contas}, {found['months']} months of five-minute",
        f"readings: {filled['readings']:,} readings and {filled['blocks']:,} blocks, made in the database in {filled['seconds']:.0f} s,",
        f"statistics and aggregates in {found['settled_in']:.0f} s. The readings are in {chunks},",
        f"{readings['bytes'] / 1e9:.1f} GB with indexes.",
        "",
        f"Each question is asked of {found['samples']} random Contas, devices and months: first in a session whose server has just",
        "been started (asked is the p95 of these), then three times more, of which the best counts. Processor: what the first time took",
        "of one, the database's session included; the rest of the time it waited. Raw: the same of the readings (differences alone, no",
        f"rules of metering), the median of {found['raw']}, of fewer where that takes more than 30 s.",
        "",
        "| question | p50 | p95 | p99 | worst | processor p50 | p95 | again p50 | p95 | statements | raw | raw / p50 |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    return lines + [_line(answer) for answer in found["answers"]]


def _line(answer: dict[str, Any]) -> str:
    first, busy, again, raw = answer["first"], answer["busy"], answer["again"], answer["raw"]
    times = [
        *(first[name] for name in ("p50", "p95", "p99", "worst")),
        busy["p50"],
        busy["p95"],
        again["p50"],
        again["p95"],
    ]
    cut = "> " if raw is not None and raw >= RAW_TIMEOUT_MS else ""
    ratio = "|" if raw is None else f"{cut}{raw:,.0f} ms | {cut}{raw / first['p50']:,.0f}"
    return (
        f"| {answer['name']} | "
        + " | ".join(f"{ms:.1f} ms" for ms in times)
        + f" | {answer['statements']:.0f} | {ratio} |"
    )


PARTS: Mapping[str, Part] = {
    "contas": Part("The dashboard's questions, Contas of all sizes", measure, verdicts, section),
    "one-conta": Part(
        "The same questions, one Conta that has all devices",
        partial(measure, one_conta=True),
        verdicts,
        section,
    ),
}
