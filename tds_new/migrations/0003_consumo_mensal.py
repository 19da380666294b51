"""Sum consumption by the months of the platform's zone.

The sum is a continuous aggregate on TimescaleDB and a view on plain PostgreSQL.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from tds_new.migrations._consumo_mensal import create_sum_of_readings
from tds_new.migrations._timescale import drop_sum


def create(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Create ``tds_new_consumo_mensal``."""
    create_sum_of_readings(editor)


def drop(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Drop ``tds_new_consumo_mensal``, whichever kind it is."""
    drop_sum(editor.connection, "tds_new_consumo_mensal")


class Migration(migrations.Migration):
    dependencies = [("tds_new", "0002_leituras")]

    operations = [migrations.RunPython(create, drop)]
