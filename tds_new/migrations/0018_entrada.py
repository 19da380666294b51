"""Count failed logins in rows of fixed size, in place of django-axes.

The networks that people have logged in from lately are taken over from its records, before its tables go.
"""

import unicodedata
from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

TAKE_OVER = """
INSERT INTO tds_new_rede_conhecida (usuario_id, rede, ultima_em)
SELECT u.id, network(set_masklen(a.ip_address, CASE family(a.ip_address) WHEN 4 THEN 32 ELSE 64 END))::text,
    max(a.attempt_time)
FROM axes_accesslog a JOIN tds_new_user u ON u.email = lower(a.username)
WHERE a.ip_address IS NOT NULL AND a.attempt_time > now() - INTERVAL '30 days'
GROUP BY 1, 2
"""
OF_AXES = "SELECT id FROM django_content_type WHERE app_label = 'axes'"
FORGET = (
    *(
        f"DELETE FROM {table} WHERE permission_id IN ("
        f"SELECT id FROM auth_permission WHERE content_type_id IN ({OF_AXES}))"
        for table in ("auth_group_permissions", "tds_new_user_user_permissions")
    ),
    f"DELETE FROM auth_permission WHERE content_type_id IN ({OF_AXES})",
    f"UPDATE django_admin_log SET content_type_id = NULL WHERE content_type_id IN ({OF_AXES})",
    "DELETE FROM django_content_type WHERE app_label = 'axes'",
    "DELETE FROM django_migrations WHERE app = 'axes'",
    "DROP TABLE IF EXISTS axes_accessattemptexpiration, axes_accessattempt, axes_accesslog, axes_accessfailurelog",
)


def replace_axes(apps: Any, schema_editor: Any) -> None:
    """Take over what axes knew, and remove its tables, permissions and history."""
    tables = schema_editor.connection.introspection.table_names()
    if "axes_accesslog" in tables:
        schema_editor.execute(TAKE_OVER)
    for statement in FORGET:
        table = next(
            (name for name in ("auth_group_permissions", "django_admin_log") if name in statement), None
        )
        if table is None or table in tables:
            schema_editor.execute(statement)


def canonical(email: str) -> str:
    """Return an address as it is stored from now on."""
    lowered = unicodedata.normalize("NFKC", email).strip().lower()
    return unicodedata.normalize("NFKC", lowered).strip()


def store_canonical_addresses(apps: Any, schema_editor: Any) -> None:
    """Store each address in its canonical form, but where somebody else has that one."""
    people = apps.get_model("tds_new", "User").objects.using(schema_editor.connection.alias)
    for pk, email in people.values_list("pk", "email").order_by("pk"):
        if canonical(email) != email and not people.filter(email=canonical(email)).exists():
            people.filter(pk=pk).update(email=canonical(email))


class Migration(migrations.Migration):
    dependencies = [
        ("tds_new", "0017_mensagem_grande"),
        ("admin", "0003_logentry_add_action_flag_choices"),
    ]

    operations = [
        migrations.CreateModel(
            name="TentativaEntrada",
            fields=[
                ("chave", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                (
                    "tipo",
                    models.CharField(
                        choices=[
                            ("PESSOA_E_REDE", "e-mail e rede"),
                            ("PESSOA_E_VIZINHANCA", "e-mail e redes vizinhas"),
                            ("PESSOA", "e-mail"),
                            ("REDE", "rede"),
                        ],
                        max_length=20,
                        verbose_name="tipo",
                    ),
                ),
                ("rede", models.CharField(db_default="", default="", max_length=50, verbose_name="rede")),
                ("falhas", models.PositiveIntegerField(db_default=0, default=0, verbose_name="falhas")),
                ("ultima_em", models.DateTimeField(verbose_name="última em")),
                ("expira_em", models.DateTimeField(db_index=True, verbose_name="vale até")),
                (
                    "usuario",
                    models.ForeignKey(
                        help_text="Vazio quando o e-mail não é de ninguém, e para redes.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="tentativas_entrada",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="usuário",
                    ),
                ),
            ],
            options={
                "verbose_name": "tentativa de entrada",
                "verbose_name_plural": "tentativas de entrada",
                "db_table": "tds_new_tentativa_entrada",
            },
        ),
        migrations.CreateModel(
            name="RedeConhecida",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("rede", models.CharField(max_length=50, verbose_name="rede")),
                ("ultima_em", models.DateTimeField(db_index=True, verbose_name="última em")),
                (
                    "usuario",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="redes_conhecidas",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="usuário",
                    ),
                ),
            ],
            options={
                "verbose_name": "rede conhecida",
                "verbose_name_plural": "redes conhecidas",
                "db_table": "tds_new_rede_conhecida",
                "constraints": [
                    models.UniqueConstraint(fields=["usuario", "rede"], name="tds_new_rede_conhecida_unica")
                ],
            },
        ),
        migrations.RunPython(store_canonical_addresses, migrations.RunPython.noop),
        migrations.RunPython(replace_axes, migrations.RunPython.noop),
    ]
