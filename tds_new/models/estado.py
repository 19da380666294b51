"""The ledger's state of each device, from which it computes on."""

from django.db import models

from tds_new.models.dispositivo import Dispositivo


class ConsumoEstado(models.Model):
    """How far a device's consumption is settled, and what the ledger keeps for itself.

    ``tds_new.metering`` alone writes it. ``assentado_ate``: no later reading changes a block before it.
    ``provisorio_desde``: from here on figures may still be taken back; NULL if nothing is provisional.
    ``segunda_edicao_desde``: blocks from here on are by the rules of today, earlier ones by those of the
    first edition; NULL, or no row, means from the beginning. ``reconstruir_desde``: the earliest reading or
    decision that waits for ``rebuild_consumption``; NULL if none. The others are the ledger's bookkeeping:
    ``cadeia_desde`` is the start of the present chain, ``pico_hora`` and ``pico_valor`` its largest hour,
    ``a_julgar_desde`` from where INCOMUM is still to be judged.
    """

    dispositivo = models.OneToOneField(
        Dispositivo, models.CASCADE, primary_key=True, related_name="+", db_constraint=False
    )
    assentado_ate = models.DateTimeField(null=True)
    provisorio_desde = models.DateTimeField(null=True)
    segunda_edicao_desde = models.DateTimeField(null=True)
    reconstruir_desde = models.DateTimeField(null=True)
    cadeia_desde = models.DateTimeField(null=True)
    pico_hora = models.DateTimeField(null=True)
    pico_valor = models.DecimalField(max_digits=30, decimal_places=6, null=True)
    a_julgar_desde = models.DateTimeField(null=True)

    class Meta:
        db_table = "tds_new_consumo_estado"

    def __str__(self) -> str:
        return f"{self.dispositivo_id} {self.assentado_ate}"


class ConsumoRetomada(models.Model):
    """A state of a device's register from which the computation can be resumed.

    ``tds_new.metering`` alone writes it. ``leitura_em`` is the reading with which the register was in that
    state; ``estado`` is ``{"line": [[us, units], ...], "jumps": [[base us, base units, us, units, restart],
    ...]}``, times in microseconds since 1970 and values in whole 0.0001.
    """

    pk = models.CompositePrimaryKey("dispositivo_id", "leitura_em")
    dispositivo = models.ForeignKey(
        Dispositivo, models.CASCADE, related_name="+", db_constraint=False, db_index=False
    )
    leitura_em = models.DateTimeField()
    estado = models.JSONField()

    class Meta:
        db_table = "tds_new_consumo_retomada"

    def __str__(self) -> str:
        return f"{self.dispositivo_id} {self.leitura_em:%Y-%m-%dT%H:%M:%SZ}"
