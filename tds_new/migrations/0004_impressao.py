"""The fingerprint of a rejected message, by which a redelivered one is recognised."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tds_new", "0003_consumo_mensal"),
    ]

    operations = [
        migrations.AddField(
            model_name="mensagemrejeitada",
            name="impressao",
            field=models.BigIntegerField(db_index=True, editable=False, null=True),
        ),
    ]
