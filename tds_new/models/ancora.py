"""The anchors, which remain of readings that were dropped."""

from django.db import models

from tds_new.models.conta import Conta
from tds_new.models.dispositivo import Dispositivo
from tds_new.models.gateway import Gateway


class ConsumoCongelado(models.Model):
    """The retention border: a single row, once readings were dropped.

    Readings before ``ate`` may be gone, and no more of them are stored.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    ate = models.DateTimeField()

    class Meta:
        db_table = "tds_new_consumo_congelado"
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="tds_new_consumo_congelado_unico")
        ]

    def __str__(self) -> str:
        return f"{self.ate:%Y-%m-%d %H:%MZ}"


class ConsumoAncora(models.Model):
    """A device's last readings before ``ConsumoCongelado.ate``, which are kept.

    The device's chain continues from them: its blocks that begin at ``final_ate`` (one value a device) or
    later can be computed again; those before are final. People's decisions on them are frozen: discarded
    readings are not among them, ``valor`` is the value that counts (a corrected one), ``decisao`` what was
    decided (empty: nothing), ``atribuida_a_id`` the Conta that was chosen with ATRIBUIDA. A device that has
    anchors cannot be deleted: its blocks would be without an owner.
    """

    pk = models.CompositePrimaryKey("dispositivo_id", "leitura_em")
    dispositivo = models.ForeignKey(Dispositivo, models.PROTECT, related_name="+", db_index=False)
    leitura_em = models.DateTimeField()
    final_ate = models.DateTimeField()
    valor = models.DecimalField(max_digits=15, decimal_places=4)
    tipo_leitura = models.CharField(max_length=12)
    unidade = models.CharField(max_length=10)
    conta = models.ForeignKey(Conta, models.PROTECT, related_name="+", db_index=False)
    gateway = models.ForeignKey(
        Gateway, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    decisao = models.CharField(max_length=10, default="", db_default="")
    atribuida_a_id = models.BigIntegerField(null=True)

    class Meta:
        db_table = "tds_new_consumo_ancora"

    def __str__(self) -> str:
        return f"{self.dispositivo_id} {self.leitura_em:%Y-%m-%dT%H:%M:%SZ} {self.valor} {self.unidade}"
