"""What people and the ledger know about a meter: dated parameters, meter changes, decisions, and what was out of the ordinary."""

from decimal import Decimal

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models.functions import Now
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from tds_new.models.dispositivo import Dispositivo


class Registro(models.Model):
    """An entry that a person makes about a device's metering. The database marks what it touches for computing again (migration 0005)."""

    dispositivo = models.ForeignKey(Dispositivo, models.CASCADE, verbose_name=_("dispositivo"))
    motivo = models.CharField(_("motivo"), max_length=200, blank=True, default="", db_default="")
    registrado_por = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("registrado por"), editable=False
    )
    registrado_em = models.DateTimeField(_("registrado em"), default=now, db_default=Now(), editable=False)

    class Meta:
        abstract = True


class TrocaMedidor(Registro):
    """A meter change: the old meter's last register value and the new one's first."""

    ocorrida_em = models.DateTimeField(_("ocorrida em"))
    leitura_final = models.DecimalField(_("leitura final do medidor antigo"), max_digits=15, decimal_places=4)
    leitura_inicial = models.DecimalField(_("leitura inicial do medidor novo"), max_digits=15, decimal_places=4, default=Decimal(0))

    class Meta:
        db_table = "tds_new_troca_medidor"
        verbose_name = _("troca de medidor")
        verbose_name_plural = _("trocas de medidor")
        ordering = ["-ocorrida_em"]
        constraints = [models.UniqueConstraint(fields=["dispositivo", "ocorrida_em"], name="tds_new_troca_medidor_chave")]

    def __str__(self) -> str:
        return f"{self.dispositivo_id} {self.ocorrida_em:%Y-%m-%d %H:%M}: {self.leitura_final} > {self.leitura_inicial}"


class VigenciaParametros(Registro):
    """A device's metering parameters from a moment on, all four of them; before the first, the device's own hold."""

    desde = models.DateTimeField(_("desde"))
    valor_maximo_registro = models.DecimalField(
        _("valor máximo do registrador"),
        max_digits=15,
        decimal_places=4,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal("0.0001"))],
    )
    consumo_maximo_hora = models.DecimalField(
        _("consumo máximo por hora"), max_digits=15, decimal_places=4, null=True, blank=True, validators=[MinValueValidator(0)]
    )
    tolerancia_queda = models.DecimalField(
        _("tolerância de queda"), max_digits=15, decimal_places=4, default=Decimal(0), validators=[MinValueValidator(0)]
    )
    fator_conversao = models.DecimalField(
        _("fator de conversão"), max_digits=12, decimal_places=6, default=Decimal(1), validators=[MinValueValidator(Decimal("0.000001"))]
    )

    class Meta:
        db_table = "tds_new_vigencia_parametros"
        verbose_name = _("vigência de parâmetros")
        verbose_name_plural = _("vigências de parâmetros")
        ordering = ["desde"]
        constraints = [models.UniqueConstraint(fields=["dispositivo", "desde"], name="tds_new_vigencia_chave")]

    def __str__(self) -> str:
        return f"{self.dispositivo_id} {self.desde:%Y-%m-%d %H:%M}: x {self.fator_conversao}"


class RevisaoLeitura(Registro):
    """A person's decision on one reading: believe it whatever the plausible maximum says, or leave it out."""

    class Decisao(models.TextChoices):
        APROVADA = "APROVADA", _("Aprovada")
        DESCARTADA = "DESCARTADA", _("Descartada")

    leitura_em = models.DateTimeField(_("leitura de"))
    decisao = models.CharField(_("decisão"), max_length=10, choices=Decisao.choices)

    class Meta:
        db_table = "tds_new_revisao_leitura"
        verbose_name = _("decisão sobre leitura")
        verbose_name_plural = _("decisões sobre leituras")
        ordering = ["-leitura_em"]
        constraints = [
            models.UniqueConstraint(fields=["dispositivo", "leitura_em"], name="tds_new_revisao_leitura_chave"),
            models.CheckConstraint(condition=models.Q(decisao__in=["APROVADA", "DESCARTADA"]), name="tds_new_revisao_leitura_decisao"),
        ]

    def __str__(self) -> str:
        return f"{self.dispositivo_id} {self.leitura_em:%Y-%m-%d %H:%M}: {self.decisao}"


class OcorrenciaMedicao(models.Model):
    """A reading whose segment is of any class but NORMAL (docs/metering.md); written by ``tds_new.consumption`` only."""

    class Classe(models.TextChoices):
        TROCA = "TROCA", _("Troca de medidor")
        QUEDA = "QUEDA", _("Queda tolerada")
        VIRADA = "VIRADA", _("Virada do registrador")
        REINICIO = "REINICIO", _("Reinício do registrador")
        SUSPEITA = "SUSPEITA", _("Leitura suspeita")
        IMPLAUSIVEL = "IMPLAUSIVEL", _("Salto implausível")

    pk = models.CompositePrimaryKey("dispositivo_id", "leitura_em")
    dispositivo = models.ForeignKey(Dispositivo, models.CASCADE, related_name="+", verbose_name=_("dispositivo"), db_index=False)
    conta_id = models.BigIntegerField(db_index=True)
    leitura_em = models.DateTimeField(_("leitura de"))
    valor = models.DecimalField(_("valor"), max_digits=15, decimal_places=4)
    classe = models.CharField(_("classe"), max_length=11, choices=Classe.choices)
    inicio = models.DateTimeField(_("leitura de base"))
    valor_base = models.DecimalField(_("valor de base"), max_digits=15, decimal_places=4)
    consumo = models.DecimalField(
        _("consumo contado"), max_digits=16, decimal_places=4, null=True, help_text=_("Na unidade do registrador; vazio quando não conta.")
    )
    decidida_em = models.DateTimeField(_("decidida pela leitura de"), null=True)

    class Meta:
        db_table = "tds_new_ocorrencia_medicao"
        verbose_name = _("ocorrência de medição")
        verbose_name_plural = _("ocorrências de medição")
        indexes = [models.Index(fields=["classe", "-leitura_em"], name="tds_new_ocorrencia_classe")]

    def __str__(self) -> str:
        return f"{self.dispositivo_id} {self.leitura_em:%Y-%m-%d %H:%M} {self.classe}"


class AuditoriaMedicao(models.Model):
    """Who changed what about a device's metering, and when: written by the database itself, never changed."""

    em = models.DateTimeField(_("em"), db_default=Now())
    dispositivo = models.ForeignKey(Dispositivo, models.CASCADE, related_name="+", verbose_name=_("dispositivo"))
    tabela = models.CharField(_("registro"), max_length=63)
    acao = models.CharField(_("ação"), max_length=6)
    antes = models.JSONField(_("antes"), null=True)
    depois = models.JSONField(_("depois"), null=True)
    usuario = models.CharField(_("usuário"), max_length=254, default="", db_default="")

    class Meta:
        db_table = "tds_new_auditoria_medicao"
        verbose_name = _("auditoria de medição")
        verbose_name_plural = _("auditoria de medição")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.em:%Y-%m-%d %H:%M} {self.tabela} {self.acao}"
