"""Options of commands that make no sense: an answer in words, and no traceback."""

import json
import os
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tds_new.management import arguments
from tests.support.paths import ROOT

pytestmark = pytest.mark.once

# Tries each option of each command with each value, in one process: a start of Django costs a second.
SCRIPT = r"""
import contextlib, io, json, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "prj_tds_new.settings"
import django
django.setup()
from django.core.management import get_commands, load_command_class
from tds_new.ingestion.consumer import Consumer
from tds_new.management import away

Consumer.run = lambda self: 0  # what is accepted would run until a signal
VALUES = [
    "", " ", "\n", "0", "-1", "9" * 5000, "9" * 20, "2147483648", "1e400", "nan", "inf", "\u00b2", "\u0663",
    "x" * 5000, "a/b", "+", "#", "$x", "%s", "\udcff", "\u202e", "2026-13-45T00:00:00Z", "2026-01-01T00:00",
    "../x", "/dev/null/x",
]

def outcome(name, given):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            load_command_class("tds_new", name).run_from_argv(["manage.py", name, *given])
        except SystemExit:
            pass
        except BaseException as error:
            if not away.is_away(error):
                return f"{type(error).__name__}: {error}"[:200]
    lines = [line for line in said.getvalue().splitlines() if line.strip()]
    if any("Traceback" in line for line in lines):
        return "Traceback"
    return "" if not lines or len(lines[-1]) < 8000 else "a line too long"

tried, failed = {}, []
for name in sorted(n for n, app in get_commands().items() if app == "tds_new"):
    parser = load_command_class("tds_new", name).create_parser("manage.py", name)
    base = load_command_class("django.core", "check").create_parser("manage.py", "check")
    common = {flag for action in base._actions for flag in action.option_strings}
    own = [a for a in parser._actions if a.option_strings and not common & set(a.option_strings)]
    needed = [part for a in own if a.required for part in (a.option_strings[0], sys.argv[1])]
    for action in own:
        if action.nargs == 0:
            continue
        tried.setdefault(name, []).append(action.option_strings[0])
        for value in VALUES:
            if problem := outcome(name, [*needed, f"{action.option_strings[0]}={value}"]):
                failed.append([name, action.option_strings[0], value[:40], problem])
print(json.dumps([tried, failed]))
"""


def test_no_option_of_any_command_ends_in_a_traceback(tmp_path: Path) -> None:
    kept = {
        n: v for n, v in os.environ.items() if not n.startswith(("DATABASE_", "TDS_", "MQTT_", "SECRET_"))
    }
    settings = {
        "SECRET_KEY": "x" * 50,
        "DATABASE_URL": "postgres://nobody@127.0.0.1:9/none",
        "TDS_DATA_DIR": str(tmp_path),
        "TDS_PROCESS_CONSUMPTION": "off",
        "MQTT_BROKER_USER": "platform",
        "MQTT_BROKER_PASSWORD": "secret",
    }
    folder = tmp_path / "here" / "below"
    folder.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "given")],
        cwd=folder,
        env={**kept, **settings, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    tried, failed = json.loads(done.stdout.splitlines()[-1])
    assert failed == []
    assert {"--client-id", "--port", "--broker", "--share-group"} <= set(tried["start_mqtt_consumer"])
    assert {"create_demo_data", "simulate_gateways", "rebuild_consumption", "provision_broker"} <= set(tried)


@pytest.mark.parametrize(
    ("parse", "accepted", "refused"),
    [
        (
            arguments.whole(-1, 10),
            {"0": 0, "10": 10, "-1": -1},
            ["", "11", "-2", "1.0", "\u00b2", "\u0663", "9" * 5000, "1_0", "--1"],
        ),
        (
            arguments.seconds(0.5, 10),
            {"1": 1.0, "0.5": 0.5, "1e1": 10.0},
            ["", "nan", "inf", "-1", "0.4", "1e400"],
        ),
        (
            arguments.word,
            {"GW-1": "GW-1", " a b ": "a b", "São": "São"},
            ["", " ", "a\n", "\0", "\udcff", "x" * 129],
        ),
        (arguments.secret, {" a ": " a "}, ["", "\0", "x" * 1001]),
        (arguments.share_group, {"": "", "g": "g"}, [" ", "a/b", "+", "#"]),
        (arguments.folder, {".": Path(), "/a": Path("/a")}, ["", " ", "a\0"]),
    ],
)
def test_values_are_what_they_should_be_or_are_refused_in_a_short_line(
    parse: Callable[[str], Any], accepted: dict[str, Any], refused: list[str]
) -> None:
    assert {text: parse(text) for text in accepted} == accepted
    for text in refused:
        with pytest.raises(ArgumentTypeError) as refusal:
            parse(text)
        assert len(str(refusal.value)) < 300
        assert str(refusal.value).isprintable()
