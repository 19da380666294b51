"""The ledger's work: stale ranges, the partitions that workers lock, and rebuilds."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now


class ConsumoPendente(models.Model):
    """Devices whose blocks from ``inicio`` to ``fim`` are to be computed.

    Triggers write it in the transaction that makes the blocks stale. A device whose computation failed is
    deferred until ``tentar_em``, with the ``erro``.
    """

    particao = models.SmallIntegerField()
    inicio = models.DateTimeField()
    fim = models.DateTimeField()
    dispositivos = ArrayField(models.BigIntegerField())
    criado_em = models.DateTimeField(db_default=Now())
    tentar_em = models.DateTimeField(null=True)
    erro = models.TextField(default="", db_default="")

    class Meta:
        db_table = "tds_new_consumo_pendente"


class ConsumoReconstrucao(models.Model):
    """A run of ``rebuild_consumption`` that has not ended.

    The next one with the same options goes on with it. Of its ``dispositivos`` the first ``entregues`` are in
    the queue, or computed; with ``novos_entregues`` the newest blocks of all, too. There is one for each
    ``pedido``, the run's options. ``antes`` has the final consumption of those queued last as it was
    before, by device, Conta and month, until what has changed of it is in the audit trail.
    """

    pedido = models.TextField(unique=True)
    iniciada_em = models.DateTimeField(db_default=Now())
    desde = models.DateTimeField(null=True)
    dispositivos = ArrayField(models.BigIntegerField())
    entregues = models.IntegerField(default=0, db_default=0)
    novos_entregues = models.BooleanField(default=False, db_default=False)
    antes = models.JSONField(default=dict, db_default={})

    class Meta:
        db_table = "tds_new_consumo_reconstrucao"

    def __str__(self) -> str:
        return f"{self.pedido}: {self.entregues}/{len(self.dispositivos)}"


class ConsumoParticao(models.Model):
    """A share of the devices (``id % PARTICOES``).

    One worker at a time computes it, and locks this row.
    """

    PARTICOES = 8

    id = models.SmallIntegerField(primary_key=True)
    processado_em = models.DateTimeField(null=True)

    class Meta:
        db_table = "tds_new_consumo_particao"
