"""Databases as earlier commits made them, restored from what their ``migrate`` executed.

``states/NNNN_name.sql`` has every statement that a version of that migration ever executed, in an order that
all its versions keep. Above each, ``--@`` says which versions executed it on which kind of database; a
version is named by the commit that brought it. ``states/states.txt`` lists the states: the kind, the commit,
and the version of each migration that was applied then. ``each`` is a database that was migrated at every
commit, so it has the first version of everything.

A database that ``enable_timescale`` moved is what a new one of that commit is, and no state of its own.

No state needs to be added any more: migrations are frozen since, so that today's code makes every later
state.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import Connection

FOLDER = Path(__file__).parent / "states"
TAG = "--@ "


@dataclass(frozen=True, slots=True)
class State:
    """A database that somebody can have: its kind, the commit that made it, and each migration's version."""

    kind: str
    commit: str
    versions: dict[str, str]

    def __str__(self) -> str:
        return self.commit

    def statements(self) -> Iterator[str]:
        """Yield what was executed to make this database out of one that has Django's own tables."""
        for migration, version in self.versions.items():
            for executed_by, statement in _executed(migration):
                if version in executed_by.get(self.kind, ()) or "all" in executed_by.get(self.kind, ()):
                    yield statement

    def restore(self, connection: Connection[Any]) -> None:
        """Make this database out of one that has Django's own tables, with its record of migrations."""
        with connection.transaction():
            for statement in self.statements():
                connection.execute(statement)
            for migration in self.versions:
                connection.execute(
                    "INSERT INTO django_migrations (app, name, applied) VALUES ('tds_new', %s, now())",
                    [migration],
                )


def states(kind: str) -> list[State]:
    """Return the earlier states of this kind of database, the oldest first."""
    names = {path.stem[:4]: path.stem for path in FOLDER.glob("*.sql")}
    found = []
    for line in (FOLDER / "states.txt").read_text(encoding="utf-8").splitlines():
        head, _, versions = line.partition(": ")
        of_kind, commit = head.split()
        pairs = (version.split("@") for version in versions.split())
        found.append(State(of_kind, commit, {names[number]: version for number, version in pairs}))
    return [state for state in found if state.kind == kind]


def _executed(migration: str) -> Iterator[tuple[dict[str, list[str]], str]]:
    """Yield each statement of a migration with the versions that executed it, by kind of database."""
    text = (FOLDER / f"{migration}.sql").read_text(encoding="utf-8")
    for part in re.split(f"^{TAG}", text, flags=re.MULTILINE)[1:]:
        tag, statement = part.split("\n", 1)
        if tag == "all":
            executed_by = {"plain": ["all"], "timescale": ["all"]}
        else:
            executed_by = {words.split()[0]: words.split()[1:] for words in tag.split(", ")}
        yield executed_by, statement.strip()
