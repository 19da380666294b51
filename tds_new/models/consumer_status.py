"""The consumers that take messages from the broker."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class ConsumerStatus(models.Model):
    """A consumer's last report about itself."""

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
