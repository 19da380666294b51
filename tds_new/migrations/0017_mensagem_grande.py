"""Know messages that are too large by a reason of their own."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tds_new", "0016_resto"),
    ]

    operations = [
        migrations.AlterField(
            model_name="mensagemrejeitada",
            name="motivo",
            field=models.CharField(
                choices=[
                    ("topico_invalido", "Tópico inválido"),
                    ("gateway_desconhecido", "Gateway desconhecido"),
                    ("gateway_inativo", "Gateway inativo"),
                    ("json_invalido", "JSON inválido"),
                    ("esquema_invalido", "Esquema inválido"),
                    ("mac_divergente", "MAC divergente do tópico"),
                    ("timestamp_invalido", "Data e hora inválidas"),
                    ("timestamp_futuro", "Data e hora no futuro"),
                    ("timestamp_antigo", "Data e hora antigas demais"),
                    ("dispositivo_desconhecido", "Dispositivo desconhecido"),
                    ("dispositivo_inativo", "Dispositivo inativo"),
                    ("valor_invalido", "Valor inválido"),
                    ("unidade_invalida", "Unidade inválida"),
                    ("conflito", "Conflito com leitura já armazenada"),
                    ("limite_excedido", "Limite excedido"),
                    ("mensagem_grande", "Mensagem grande demais"),
                ],
                max_length=30,
                verbose_name="motivo",
            ),
        ),
        migrations.AlterField(
            model_name="rejeicaocontador",
            name="motivo",
            field=models.CharField(
                choices=[
                    ("topico_invalido", "Tópico inválido"),
                    ("gateway_desconhecido", "Gateway desconhecido"),
                    ("gateway_inativo", "Gateway inativo"),
                    ("json_invalido", "JSON inválido"),
                    ("esquema_invalido", "Esquema inválido"),
                    ("mac_divergente", "MAC divergente do tópico"),
                    ("timestamp_invalido", "Data e hora inválidas"),
                    ("timestamp_futuro", "Data e hora no futuro"),
                    ("timestamp_antigo", "Data e hora antigas demais"),
                    ("dispositivo_desconhecido", "Dispositivo desconhecido"),
                    ("dispositivo_inativo", "Dispositivo inativo"),
                    ("valor_invalido", "Valor inválido"),
                    ("unidade_invalida", "Unidade inválida"),
                    ("conflito", "Conflito com leitura já armazenada"),
                    ("limite_excedido", "Limite excedido"),
                    ("mensagem_grande", "Mensagem grande demais"),
                ],
                max_length=30,
                verbose_name="motivo",
            ),
        ),
    ]
