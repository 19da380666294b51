"""Keep the addresses and passwords of the running demonstration in a file.

The file is ``var/embedded.json`` (mode 0600). ``make run`` writes the file. The settings read it, so that a
command in another terminal uses the same services. This module needs no Django, because the settings import
it.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

FILE_NAME = "embedded.json"


@dataclass(frozen=True, slots=True)
class EmbeddedState:
    """The addresses of the embedded services.

    ``pid`` is the process that runs them. The ``mqtt_`` fields are empty until the broker has started,
    ``web`` is empty until the web server has.
    """

    pid: int
    database_url: str
    mqtt_host: str = ""
    mqtt_port: int = 0
    mqtt_user: str = ""
    mqtt_password: str = ""
    web: str = ""


def read(data_dir: Path) -> EmbeddedState | None:
    """Return the state of the embedded services; None if they do not run.

    A file that is not valid counts as none.
    """
    try:
        state = EmbeddedState(**json.loads((data_dir / FILE_NAME).read_text(encoding="utf-8")))
        os.kill(state.pid, 0)
    except PermissionError:
        return state
    except (OSError, ValueError, TypeError):
        return None
    return state


def write(data_dir: Path, state: EmbeddedState) -> None:
    """Replace the file in one step; only its owner can read it."""
    target = data_dir / FILE_NAME
    draft = target.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(state), file)
    draft.replace(target)


def clear(data_dir: Path) -> None:
    """Remove the file, because the embedded services have stopped."""
    (data_dir / FILE_NAME).unlink(missing_ok=True)
