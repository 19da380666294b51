"""Readings as they came: raw and immutable, in a hypertable on TimescaleDB."""

from django.db import models

from tds_new.models.conta import Conta
from tds_new.models.dispositivo import Dispositivo
from tds_new.models.gateway import Gateway


class LeituraDispositivo(models.Model):
    """A value of a device at a time; ``tds_new.ingestion.store`` alone writes it.

    ``tipo_leitura`` and ``unidade`` are the device's when the reading was stored. ``payload_raw`` is the
    message as it came, with this reading alone in ``leituras``; what is large of its other fields is in
    ``MensagemResto``. The references carry no foreign keys (three checks a row would halve the rate): the
    insert joins the device, and a trigger refuses to delete a device that has readings.
    """

    pk = models.CompositePrimaryKey("dispositivo_id", "time")
    time = models.DateTimeField()
    conta = models.ForeignKey(Conta, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False)
    gateway = models.ForeignKey(
        Gateway, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    dispositivo = models.ForeignKey(
        Dispositivo, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    valor = models.DecimalField(max_digits=15, decimal_places=4)
    unidade = models.CharField(max_length=10)
    tipo_leitura = models.CharField(max_length=12)
    payload_raw = models.JSONField(null=True)

    class Meta:
        db_table = "tds_new_leitura_dispositivo"

    def __str__(self) -> str:
        return f"{self.dispositivo_id} {self.time:%Y-%m-%dT%H:%M:%SZ} {self.valor} {self.unidade}"
