"""Keep what a rebuild changes of final months, until it is in the audit trail."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tds_new", "0014_segunda_edicao"),
    ]

    operations = [
        migrations.AddField(
            model_name="consumoreconstrucao",
            name="antes",
            field=models.JSONField(db_default={}, default=dict),
        ),
        migrations.AlterField(
            model_name="auditoriamedicao",
            name="tabela",
            field=models.CharField(
                choices=[
                    ("tds_new_troca_medidor", "Troca de medidor"),
                    ("tds_new_vigencia_parametros", "Vigência de parâmetros"),
                    ("tds_new_revisao_leitura", "Decisão sobre leitura"),
                    ("tds_new_dispositivo", "Dispositivo"),
                    ("tds_new_gateway", "Gateway"),
                    ("tds_new_consumo_15min", "Consumo fechado"),
                ],
                max_length=63,
                verbose_name="registro",
            ),
        ),
    ]
