"""Create the ledger's tables and those of what people enter about a meter."""

from decimal import Decimal

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tds_new", "0004_impressao"),
    ]

    operations = [
        migrations.CreateModel(
            name="ConsumoDiario",
            fields=[
                ("minimo", models.DecimalField(decimal_places=6, max_digits=27, null=True)),
                ("maximo", models.DecimalField(decimal_places=6, max_digits=27, null=True)),
                ("soma", models.DecimalField(decimal_places=6, max_digits=30, null=True)),
                ("ultimo", models.DecimalField(decimal_places=6, max_digits=27, null=True)),
                ("blocos", models.BigIntegerField()),
                ("blocos_medidos", models.DecimalField(decimal_places=4, max_digits=20)),
                ("blocos_interpolados", models.BigIntegerField()),
                ("blocos_estimados", models.BigIntegerField()),
                ("amostras", models.BigIntegerField(null=True)),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "dia",
                        "conta_id",
                        "gateway_id",
                        "dispositivo_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("dia", models.DateTimeField()),
                ("consumo", models.DecimalField(decimal_places=6, max_digits=27, null=True)),
                ("leituras", models.BigIntegerField()),
            ],
            options={
                "db_table": "tds_new_consumo_diario",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="ConsumoHorario",
            fields=[
                ("minimo", models.DecimalField(decimal_places=6, max_digits=27, null=True)),
                ("maximo", models.DecimalField(decimal_places=6, max_digits=27, null=True)),
                ("soma", models.DecimalField(decimal_places=6, max_digits=30, null=True)),
                ("ultimo", models.DecimalField(decimal_places=6, max_digits=27, null=True)),
                ("blocos", models.BigIntegerField()),
                ("blocos_medidos", models.DecimalField(decimal_places=4, max_digits=20)),
                ("blocos_interpolados", models.BigIntegerField()),
                ("blocos_estimados", models.BigIntegerField()),
                ("amostras", models.BigIntegerField(null=True)),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "hora",
                        "conta_id",
                        "gateway_id",
                        "dispositivo_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("hora", models.DateTimeField()),
                ("consumo", models.DecimalField(decimal_places=6, max_digits=27, null=True)),
                ("leituras", models.BigIntegerField()),
            ],
            options={
                "db_table": "tds_new_consumo_horario",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="ConsumoParticao",
            fields=[
                ("id", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("processado_em", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "tds_new_consumo_particao",
            },
        ),
        migrations.CreateModel(
            name="ConsumoPendente",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("particao", models.SmallIntegerField()),
                ("inicio", models.DateTimeField()),
                ("fim", models.DateTimeField()),
                (
                    "dispositivos",
                    django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=None),
                ),
                ("criado_em", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("tentar_em", models.DateTimeField(null=True)),
                ("erro", models.TextField(db_default="", default="")),
            ],
            options={
                "db_table": "tds_new_consumo_pendente",
            },
        ),
        migrations.AddField(
            model_name="contaatividade",
            name="consumo_seq",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="dispositivo",
            name="consumo_maximo_hora",
            field=models.DecimalField(
                blank=True,
                decimal_places=4,
                help_text="Na unidade do registrador, antes do fator; o que passar disso fica suspeito até que alguém decida.",
                max_digits=15,
                null=True,
                validators=[django.core.validators.MinValueValidator(0)],
                verbose_name="consumo máximo por hora",
            ),
        ),
        migrations.AddField(
            model_name="dispositivo",
            name="tolerancia_queda",
            field=models.DecimalField(
                db_default=Decimal("0"),
                decimal_places=4,
                default=Decimal("0"),
                help_text="Quedas até este valor são ruído e não contam.",
                max_digits=15,
                validators=[django.core.validators.MinValueValidator(0)],
                verbose_name="tolerância de queda",
            ),
        ),
        migrations.AddField(
            model_name="dispositivo",
            name="valor_maximo_registro",
            field=models.DecimalField(
                blank=True,
                decimal_places=4,
                help_text="O valor em que o registrador volta a zero, por exemplo 1000000.",
                max_digits=15,
                null=True,
                validators=[django.core.validators.MinValueValidator(Decimal("0.0001"))],
                verbose_name="valor máximo do registrador",
            ),
        ),
        migrations.CreateModel(
            name="AuditoriaMedicao",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "em",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="em"
                    ),
                ),
                ("tabela", models.CharField(max_length=63, verbose_name="registro")),
                ("acao", models.CharField(max_length=6, verbose_name="ação")),
                ("antes", models.JSONField(null=True, verbose_name="antes")),
                ("depois", models.JSONField(null=True, verbose_name="depois")),
                (
                    "usuario",
                    models.CharField(db_default="", default="", max_length=254, verbose_name="usuário"),
                ),
                (
                    "dispositivo",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tds_new.dispositivo",
                        verbose_name="dispositivo",
                    ),
                ),
            ],
            options={
                "verbose_name": "auditoria de medição",
                "verbose_name_plural": "auditoria de medição",
                "db_table": "tds_new_auditoria_medicao",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="ConsumoBloco",
            fields=[
                ("minimo", models.DecimalField(decimal_places=6, max_digits=27, null=True)),
                ("maximo", models.DecimalField(decimal_places=6, max_digits=27, null=True)),
                ("soma", models.DecimalField(decimal_places=6, max_digits=30, null=True)),
                ("ultimo", models.DecimalField(decimal_places=6, max_digits=27, null=True)),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "dispositivo_id",
                        "bloco",
                        "conta_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("bloco", models.DateTimeField()),
                ("consumo", models.DecimalField(decimal_places=6, max_digits=27, null=True)),
                ("leituras", models.IntegerField()),
                ("fracao_medida", models.DecimalField(decimal_places=4, max_digits=5)),
                ("qualidade", models.CharField(max_length=11)),
                ("amostras", models.IntegerField(null=True)),
                (
                    "conta",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="tds_new.conta",
                    ),
                ),
                (
                    "dispositivo",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="tds_new.dispositivo",
                    ),
                ),
                (
                    "gateway",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="tds_new.gateway",
                    ),
                ),
            ],
            options={
                "db_table": "tds_new_consumo_15min",
                "indexes": [
                    django.contrib.postgres.indexes.BrinIndex(
                        autosummarize=True, fields=["bloco"], name="tds_new_consumo_bloco", pages_per_range=32
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="OcorrenciaMedicao",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "dispositivo_id",
                        "leitura_em",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("conta_id", models.BigIntegerField(db_index=True)),
                ("leitura_em", models.DateTimeField(verbose_name="leitura de")),
                ("valor", models.DecimalField(decimal_places=4, max_digits=15, verbose_name="valor")),
                (
                    "classe",
                    models.CharField(
                        choices=[
                            ("TROCA", "Troca de medidor"),
                            ("QUEDA", "Queda tolerada"),
                            ("VIRADA", "Virada do registrador"),
                            ("REINICIO", "Reinício do registrador"),
                            ("SUSPEITA", "Leitura suspeita"),
                            ("IMPLAUSIVEL", "Salto implausível"),
                        ],
                        max_length=11,
                        verbose_name="classe",
                    ),
                ),
                ("inicio", models.DateTimeField(verbose_name="leitura de base")),
                (
                    "valor_base",
                    models.DecimalField(decimal_places=4, max_digits=15, verbose_name="valor de base"),
                ),
                (
                    "consumo",
                    models.DecimalField(
                        decimal_places=4,
                        help_text="Na unidade do registrador; vazio quando não conta.",
                        max_digits=16,
                        null=True,
                        verbose_name="consumo contado",
                    ),
                ),
                ("decidida_em", models.DateTimeField(null=True, verbose_name="decidida pela leitura de")),
                (
                    "dispositivo",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tds_new.dispositivo",
                        verbose_name="dispositivo",
                    ),
                ),
            ],
            options={
                "verbose_name": "ocorrência de medição",
                "verbose_name_plural": "ocorrências de medição",
                "db_table": "tds_new_ocorrencia_medicao",
                "indexes": [models.Index(fields=["classe", "-leitura_em"], name="tds_new_ocorrencia_classe")],
            },
        ),
        migrations.CreateModel(
            name="RevisaoLeitura",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "motivo",
                    models.CharField(
                        blank=True, db_default="", default="", max_length=200, verbose_name="motivo"
                    ),
                ),
                (
                    "registrado_em",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                        verbose_name="registrado em",
                    ),
                ),
                ("leitura_em", models.DateTimeField(verbose_name="leitura de")),
                (
                    "decisao",
                    models.CharField(
                        choices=[("APROVADA", "Aprovada"), ("DESCARTADA", "Descartada")],
                        max_length=10,
                        verbose_name="decisão",
                    ),
                ),
                (
                    "dispositivo",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        to="tds_new.dispositivo",
                        verbose_name="dispositivo",
                    ),
                ),
                (
                    "registrado_por",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="registrado por",
                    ),
                ),
            ],
            options={
                "verbose_name": "decisão sobre leitura",
                "verbose_name_plural": "decisões sobre leituras",
                "db_table": "tds_new_revisao_leitura",
                "ordering": ["-leitura_em"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("dispositivo", "leitura_em"), name="tds_new_revisao_leitura_chave"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("decisao__in", ["APROVADA", "DESCARTADA"])),
                        name="tds_new_revisao_leitura_decisao",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="TrocaMedidor",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "motivo",
                    models.CharField(
                        blank=True, db_default="", default="", max_length=200, verbose_name="motivo"
                    ),
                ),
                (
                    "registrado_em",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                        verbose_name="registrado em",
                    ),
                ),
                ("ocorrida_em", models.DateTimeField(verbose_name="ocorrida em")),
                (
                    "leitura_final",
                    models.DecimalField(
                        decimal_places=4, max_digits=15, verbose_name="leitura final do medidor antigo"
                    ),
                ),
                (
                    "leitura_inicial",
                    models.DecimalField(
                        decimal_places=4,
                        default=Decimal("0"),
                        max_digits=15,
                        verbose_name="leitura inicial do medidor novo",
                    ),
                ),
                (
                    "dispositivo",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        to="tds_new.dispositivo",
                        verbose_name="dispositivo",
                    ),
                ),
                (
                    "registrado_por",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="registrado por",
                    ),
                ),
            ],
            options={
                "verbose_name": "troca de medidor",
                "verbose_name_plural": "trocas de medidor",
                "db_table": "tds_new_troca_medidor",
                "ordering": ["-ocorrida_em"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("dispositivo", "ocorrida_em"), name="tds_new_troca_medidor_chave"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="VigenciaParametros",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "motivo",
                    models.CharField(
                        blank=True, db_default="", default="", max_length=200, verbose_name="motivo"
                    ),
                ),
                (
                    "registrado_em",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        default=django.utils.timezone.now,
                        editable=False,
                        verbose_name="registrado em",
                    ),
                ),
                ("desde", models.DateTimeField(verbose_name="desde")),
                (
                    "valor_maximo_registro",
                    models.DecimalField(
                        blank=True,
                        decimal_places=4,
                        max_digits=15,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(Decimal("0.0001"))],
                        verbose_name="valor máximo do registrador",
                    ),
                ),
                (
                    "consumo_maximo_hora",
                    models.DecimalField(
                        blank=True,
                        decimal_places=4,
                        max_digits=15,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(0)],
                        verbose_name="consumo máximo por hora",
                    ),
                ),
                (
                    "tolerancia_queda",
                    models.DecimalField(
                        decimal_places=4,
                        default=Decimal("0"),
                        max_digits=15,
                        validators=[django.core.validators.MinValueValidator(0)],
                        verbose_name="tolerância de queda",
                    ),
                ),
                (
                    "fator_conversao",
                    models.DecimalField(
                        decimal_places=6,
                        default=Decimal("1"),
                        max_digits=12,
                        validators=[django.core.validators.MinValueValidator(Decimal("0.000001"))],
                        verbose_name="fator de conversão",
                    ),
                ),
                (
                    "dispositivo",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        to="tds_new.dispositivo",
                        verbose_name="dispositivo",
                    ),
                ),
                (
                    "registrado_por",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="registrado por",
                    ),
                ),
            ],
            options={
                "verbose_name": "vigência de parâmetros",
                "verbose_name_plural": "vigências de parâmetros",
                "db_table": "tds_new_vigencia_parametros",
                "ordering": ["desde"],
                "constraints": [
                    models.UniqueConstraint(fields=("dispositivo", "desde"), name="tds_new_vigencia_chave")
                ],
            },
        ),
    ]
