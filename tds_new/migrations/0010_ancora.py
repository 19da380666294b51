"""Keep with anchors what was decided on their readings.

Discarded ones go, approved ones are marked.
"""

from django.db import migrations, models

# Anchors made until now hold every reading. The admin refuses decisions on what is closed, so today's decisions are
# those of then.
SETTLE = """
DELETE FROM tds_new_consumo_ancora a USING tds_new_revisao_leitura r
    WHERE r.dispositivo_id = a.dispositivo_id AND r.leitura_em = a.leitura_em AND r.decisao = 'DESCARTADA';
UPDATE tds_new_consumo_ancora a SET aprovada = true FROM tds_new_revisao_leitura r
    WHERE r.dispositivo_id = a.dispositivo_id AND r.leitura_em = a.leitura_em AND r.decisao = 'APROVADA';
"""


class Migration(migrations.Migration):
    dependencies = [("tds_new", "0009_conta")]

    operations = [
        migrations.AddField(
            "ConsumoAncora", "aprovada", models.BooleanField(db_default=False, default=False)
        ),
        migrations.RunSQL(SETTLE, migrations.RunSQL.noop),
    ]
