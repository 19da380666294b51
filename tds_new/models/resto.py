"""The fields of messages that are too large to be copied to each reading."""

from django.db import models

from tds_new.models.gateway import Gateway


class MensagemResto(models.Model):
    """Fields of a message, kept once for its readings.

    ``tds_new.ingestion.store`` alone writes it. A reading's ``payload_raw`` names ``impressao`` under the key
    ``tds_new_mensagem_resto``; with the reading's gateway that is the way to this row. Equal fields of a
    gateway's messages of one ``dia`` are one row; ``dia`` is the UTC day of the newest reading that the row
    was written for, so the row is dropped with that reading. This is a plain table on TimescaleDB, too: it is
    found by its key alone, few messages have one, and PostgreSQL compresses large fields by itself.
    """

    pk = models.CompositePrimaryKey("gateway_id", "impressao", "dia")
    gateway = models.ForeignKey(Gateway, models.CASCADE, related_name="+", db_index=False)
    impressao = models.UUIDField()
    dia = models.DateField()
    campos = models.JSONField()

    class Meta:
        db_table = "tds_new_mensagem_resto"
        indexes = [models.Index(fields=["dia"], name="tds_new_mensagem_resto_dia")]

    def __str__(self) -> str:
        return f"{self.gateway_id} {self.dia} {self.impressao}"
