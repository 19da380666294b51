"""Keep large fields of a message once, not with each of its readings.

Readings that are stored already keep the whole message, as they have it.
"""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tds_new", "0015_consumo_fechado"),
    ]

    operations = [
        migrations.CreateModel(
            name="MensagemResto",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "gateway_id",
                        "impressao",
                        "dia",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("impressao", models.UUIDField()),
                ("dia", models.DateField()),
                ("campos", models.JSONField()),
                (
                    "gateway",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tds_new.gateway",
                    ),
                ),
            ],
            options={
                "db_table": "tds_new_mensagem_resto",
                "indexes": [models.Index(fields=["dia"], name="tds_new_mensagem_resto_dia")],
            },
        ),
    ]
