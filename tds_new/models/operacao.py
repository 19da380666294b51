"""What the operator watches: set-aside messages and the consumers."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from tds_new.models.conta import Conta
from tds_new.models.gateway import Gateway


class Motivo(models.TextChoices):
    """Why a message or a reading was set aside."""

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


class MensagemRejeitada(models.Model):
    """A message that could not be stored, or one reading of it (``leitura_indice``), kept for people to look at and re-process."""

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
    """How often each gateway was refused for each reason: counts all, while only the newest messages are kept."""

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


class ConsumerStatus(models.Model):
    """A consumer as it last said of itself."""

    class Estado(models.TextChoices):
        STARTING = "starting", _("Iniciando")
        STANDBY = "standby", _("Em espera")
        CONNECTED = "connected", _("Conectado")
        DISCONNECTED = "disconnected", _("Sem broker")
        STOPPED = "stopped", _("Parado")

    client_id = models.CharField(_("identificador do cliente"), max_length=128, unique=True)
    host = models.CharField(_("máquina"), max_length=255, default="", db_default="")
    pid = models.IntegerField(_("processo"), default=0, db_default=0)
    estado = models.CharField(
        _("estado"), max_length=12, choices=Estado.choices, default=Estado.STARTING, db_default="starting"
    )
    since = models.DateTimeField(_("desde"), null=True)
    updated_at = models.DateTimeField(_("atualizado em"), null=True)
    last_batch_at = models.DateTimeField(_("último lote"), null=True)
    counters = models.JSONField(_("contadores"), default=dict)

    class Meta:
        db_table = "tds_new_consumer_status"
        verbose_name = _("consumidor")
        verbose_name_plural = _("consumidores")

    def __str__(self) -> str:
        return f"{self.client_id} ({self.estado})"


class ManutencaoQuerySet(models.QuerySet["ManutencaoExecucao"]):
    """Upkeep, and what of it is late."""

    def overdue(self) -> "ManutencaoQuerySet":
        """Pieces that should have succeeded again by now, or never have."""
        return self.filter(Q(prazo__lt=now()) | Q(prazo=None))


class ManutencaoExecucao(models.Model):
    """A piece of the platform's upkeep (a policy of TimescaleDB, the retention, ...): when it last ran, and how that ended."""

    nome = models.CharField(_("nome"), max_length=120, primary_key=True)
    ultima_execucao = models.DateTimeField(_("última execução"))
    ultimo_sucesso = models.DateTimeField(_("último sucesso"), null=True)
    erro = models.TextField(
        _("erro"),
        blank=True,
        default="",
        db_default="",
        help_text=_("Da última execução; vazio quando deu certo."),
    )
    prazo = models.DateTimeField(_("prazo"), null=True, help_text=_("Até quando deve dar certo de novo."))

    objects = ManutencaoQuerySet.as_manager()

    class Meta:
        db_table = "tds_new_manutencao_execucao"
        verbose_name = _("rotina de manutenção")
        verbose_name_plural = _("rotinas de manutenção")
        ordering = ["nome"]

    def __str__(self) -> str:
        return self.nome
