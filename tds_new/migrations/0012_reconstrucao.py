"""Keep what a run of ``rebuild_consumption`` has still to do.

So the next run continues a killed one.
"""

import django.contrib.postgres.fields
from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("tds_new", "0011_auditoria")]

    operations = [
        migrations.CreateModel(
            name="ConsumoReconstrucao",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("pedido", models.TextField(unique=True)),
                ("iniciada_em", models.DateTimeField(db_default=Now())),
                ("desde", models.DateTimeField(null=True)),
                (
                    "dispositivos",
                    django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=None),
                ),
                ("entregues", models.IntegerField(db_default=0, default=0)),
                ("novos_entregues", models.BooleanField(db_default=False, default=False)),
            ],
            options={"db_table": "tds_new_consumo_reconstrucao"},
        ),
    ]
