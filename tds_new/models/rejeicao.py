"""Rejected messages, and the counters of rejections by gateway."""

from django.db import models
from django.db.models.functions import Now
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from tds_new.models.conta import Conta
from tds_new.models.gateway import Gateway


class Motivo(models.TextChoices):
    """The reason for which a message or a reading was rejected."""

    TOPICO_INVALIDO = "topico_invalido", _("Tópico inválido")
    GATEWAY_DESCONHECIDO = "gateway_desconhecido", _("Gateway desconhecido")
    GATEWAY_INATIVO = "gateway_inativo", _("Gateway inativo")
    JSON_INVALIDO = "json_invalido", _("JSON inválido")
    ESQUEMA_INVALIDO = "esquema_invalido", _("Esquema inválido")
    MAC_DIVERGENTE = "mac_divergente", _("MAC divergente do tópico")
    TIMESTAMP_INVALIDO = "timestamp_invalido", _("Data e hora inválidas")
    TIMESTAMP_FUTURO = "timestamp_futuro", _("Data e hora no futuro")
    TIMESTAMP_ANTIGO = "timestamp_antigo", _("Data e hora antigas demais")
    DISPOSITIVO_DESCONHECIDO = "dispositivo_desconhecido", _("Dispositivo desconhecido")
    DISPOSITIVO_INATIVO = "dispositivo_inativo", _("Dispositivo inativo")
    VALOR_INVALIDO = "valor_invalido", _("Valor inválido")
    UNIDADE_INVALIDA = "unidade_invalida", _("Unidade inválida")
    CONFLITO = "conflito", _("Conflito com leitura já armazenada")
    LIMITE_EXCEDIDO = "limite_excedido", _("Limite excedido")
    MENSAGEM_GRANDE = "mensagem_grande", _("Mensagem grande demais")


class MensagemRejeitada(models.Model):
    """A message that could not be stored, or one reading of it (``leitura_indice``).

    It is kept for people to look at and process again.
    """

    recebida_em = models.DateTimeField(_("recebida em"), default=now, db_default=Now())
    topico = models.TextField(_("tópico"))
    payload = models.BinaryField(_("conteúdo"), max_length=65_536)
    motivo = models.CharField(_("motivo"), max_length=30, choices=Motivo.choices)
    detalhe = models.TextField(_("detalhe"), blank=True, default="", db_default="")
    leitura_indice = models.IntegerField(
        _("leitura"), null=True, help_text=_("Posição em “leituras”; vazio quando é a mensagem inteira.")
    )
    gateway = models.ForeignKey(
        Gateway, models.SET_NULL, null=True, related_name="+", verbose_name=_("gateway"), db_index=False
    )
    conta = models.ForeignKey(Conta, models.SET_NULL, null=True, related_name="+", verbose_name=_("conta"))
    impressao = models.BigIntegerField(
        null=True, db_index=True, editable=False
    )  # finds a message that is delivered again
    reprocessada_em = models.DateTimeField(
        _("reprocessada em"), null=True, help_text=_("Quando foi aceita numa nova tentativa.")
    )

    class Meta:
        db_table = "tds_new_mensagem_rejeitada"
        verbose_name = _("mensagem rejeitada")
        verbose_name_plural = _("mensagens rejeitadas")
        indexes = [models.Index(fields=["gateway", "motivo", "-id"], name="tds_new_rejeitada_chave")]

    def __str__(self) -> str:
        return f"{self.motivo} {self.topico}"


class RejeicaoContador(models.Model):
    """The number of rejections of each gateway for each reason.

    It counts all, while only the newest messages are kept.
    """

    gateway = models.ForeignKey(
        Gateway, models.CASCADE, null=True, related_name="+", verbose_name=_("gateway")
    )
    motivo = models.CharField(_("motivo"), max_length=30, choices=Motivo.choices)
    total = models.BigIntegerField(_("total"), default=0, db_default=0)
    primeira_em = models.DateTimeField(_("primeira em"))
    ultima_em = models.DateTimeField(_("última em"))

    class Meta:
        db_table = "tds_new_rejeicao_contador"
        verbose_name = _("contador de rejeições")
        verbose_name_plural = _("contadores de rejeições")
        constraints = [
            models.UniqueConstraint(
                fields=["gateway", "motivo"], name="tds_new_rejeicao_chave", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return f"{self.gateway_id} {self.motivo}: {self.total}"
