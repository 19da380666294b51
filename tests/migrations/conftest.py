"""Databases of the migration tests' own, on the suite's server."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections
from psycopg import sql

ALIAS = "own"


@dataclass(slots=True)
class OwnDatabases:
    """Makes databases, migrates them with today's code, and drops them in the end."""

    admin: psycopg.Connection[Any]
    made: list[str] = field(default_factory=list)

    def create(self, template: str = "template1") -> str:
        """Create a database as a copy of ``template`` and return its name."""
        name = f"own_{uuid.uuid4().hex}"
        self.admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
        self.made.append(name)
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is connected to it."""
        self.admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        self.made.remove(name)

    def connect(self, name: str) -> psycopg.Connection[Any]:
        """Open a session in autocommit mode."""
        return psycopg.connect(
            self.admin.info.dsn, password=self.admin.info.password, dbname=name, autocommit=True
        )

    def migrate(self, name: str, *app_and_target: str) -> None:
        """Run ``migrate`` on a database."""
        connections.databases[ALIAS] = {**connections.databases["default"], "NAME": name}
        try:
            call_command("migrate", *app_and_target, database=ALIAS, verbosity=0)
        finally:
            connections[ALIAS].close()
            del connections[ALIAS]
            del connections.databases[ALIAS]


@pytest.fixture(scope="module")
def own_databases(django_db_blocker: Any) -> Iterator[OwnDatabases]:
    """Databases beside the suite's."""
    with django_db_blocker.unblock():
        default = connections["default"]
        parameters = default.get_connection_params()
        keys = ("host", "port", "user", "password")
        admin = psycopg.connect(
            dbname="postgres", autocommit=True, **{key: parameters[key] for key in keys if key in parameters}
        )
        with admin:
            databases = OwnDatabases(admin)
            try:
                yield databases
            finally:
                for name in tuple(databases.made):
                    databases.drop(name)
