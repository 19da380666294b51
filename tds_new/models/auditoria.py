"""The trail of changes to what figures depend on."""

from django.db import models
from django.db.models.functions import Now
from django.utils.timezone import get_current_timezone
from django.utils.translation import gettext_lazy as _

from tds_new.formats import date_time
from tds_new.models.dispositivo import Dispositivo


class AuditoriaMedicao(models.Model):
    """A change to a device's metering: who made it, when and why.

    Triggers write it, and ``rebuild_consumption`` writes what it changed of a month that was final: ``antes``
    and ``depois`` have its ``mes``, ``conta_id`` and ``consumo`` then. Nobody can change it.
    """

    class Tabela(models.TextChoices):
        TROCA = "tds_new_troca_medidor", _("Troca de medidor")
        VIGENCIA = "tds_new_vigencia_parametros", _("Vigência de parâmetros")
        REVISAO = "tds_new_revisao_leitura", _("Decisão sobre leitura")
        DISPOSITIVO = "tds_new_dispositivo", _("Dispositivo")
        GATEWAY = "tds_new_gateway", _("Gateway")
        CONSUMO = "tds_new_consumo_15min", _("Consumo fechado")

    class Acao(models.TextChoices):
        INSERT = "INSERT", _("Inclusão")
        UPDATE = "UPDATE", _("Alteração")
        DELETE = "DELETE", _("Exclusão")

    em = models.DateTimeField(_("data e hora"), db_default=Now())
    dispositivo = models.ForeignKey(
        Dispositivo, models.CASCADE, related_name="+", verbose_name=_("dispositivo")
    )
    tabela = models.CharField(_("registro"), max_length=63, choices=Tabela.choices)
    acao = models.CharField(_("ação"), max_length=6, choices=Acao.choices)
    antes = models.JSONField(_("antes"), null=True)
    depois = models.JSONField(_("depois"), null=True)
    usuario = models.CharField(_("usuário"), max_length=254, default="", db_default="")
    motivo = models.CharField(_("motivo"), max_length=200, default="", db_default="")

    class Meta:
        db_table = "tds_new_auditoria_medicao"
        verbose_name = _("registro de auditoria")
        verbose_name_plural = _("registros de auditoria")
        ordering = ["-id"]

    def __str__(self) -> str:
        when = date_time(self.em, get_current_timezone())
        return f"{self.get_tabela_display()}, {self.get_acao_display().lower()}, {when}"
