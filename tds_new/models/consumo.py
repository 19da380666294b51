"""Consumption, derived from the readings: read-only."""

from django.db import models

from tds_new.models.conta import Conta
from tds_new.models.dispositivo import Dispositivo
from tds_new.models.gateway import Gateway


class ConsumoMensal(models.Model):
    """Consumption of a device in a month of the platform's zone (``TDS_TIME_ZONE``); gauges have none (NULL).

    A continuous aggregate on TimescaleDB, a view on plain PostgreSQL (migration 0003).
    """

    pk = models.CompositePrimaryKey("mes_referencia", "conta_id", "gateway_id", "dispositivo_id")
    mes_referencia = models.DateTimeField()
    conta = models.ForeignKey(Conta, models.DO_NOTHING, related_name="+", db_constraint=False)
    gateway = models.ForeignKey(Gateway, models.DO_NOTHING, related_name="+", db_constraint=False)
    dispositivo = models.ForeignKey(Dispositivo, models.DO_NOTHING, related_name="+", db_constraint=False)
    total_consumo = models.DecimalField(max_digits=20, decimal_places=4, null=True)
    media_diaria = models.DecimalField(max_digits=20, decimal_places=4, null=True)
    leituras_count = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "tds_new_consumo_mensal"

    def __str__(self) -> str:
        return f"{self.dispositivo_id} {self.mes_referencia:%Y-%m}: {self.total_consumo}"
