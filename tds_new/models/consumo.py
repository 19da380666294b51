"""Consumption, which ``tds_new.metering`` alone writes."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import models

from tds_new.models.conta import Conta
from tds_new.models.dispositivo import Dispositivo
from tds_new.models.gateway import Gateway


class Rollup(models.Model):
    """The columns that blocks and the sums over them share.

    Gauges have no consumption, registers no gauge columns (NULL).
    """

    conta = models.ForeignKey(Conta, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False)
    gateway = models.ForeignKey(
        Gateway, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    dispositivo = models.ForeignKey(
        Dispositivo, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    minimo = models.DecimalField(max_digits=27, decimal_places=6, null=True)
    maximo = models.DecimalField(max_digits=27, decimal_places=6, null=True)
    soma = models.DecimalField(max_digits=30, decimal_places=6, null=True)
    ultimo = models.DecimalField(max_digits=27, decimal_places=6, null=True)

    class Meta:
        abstract = True


class ConsumoBloco(Rollup):
    """A device's 15 minutes, of which every hour, day, month and peak is a sum.

    ``bloco`` is the start of the block, UTC; ``fracao_medida`` the share of it that was measured.
    """

    class Qualidade(models.TextChoices):
        MEDIDO = "MEDIDO"
        INTERPOLADO = "INTERPOLADO"
        ESTIMADO = "ESTIMADO"

    pk = models.CompositePrimaryKey("dispositivo_id", "bloco", "conta_id")
    bloco = models.DateTimeField()
    consumo = models.DecimalField(max_digits=27, decimal_places=6, null=True)
    leituras = models.IntegerField()
    fracao_medida = models.DecimalField(max_digits=5, decimal_places=4)
    qualidade = models.CharField(max_length=11)
    amostras = models.IntegerField(null=True)

    class Meta:
        db_table = "tds_new_consumo_15min"
        # The refresh of the sums reads by time alone, for all devices. Blocks come in order, so a BRIN is
        # enough.
        indexes = [
            BrinIndex(fields=["bloco"], name="tds_new_consumo_bloco", pages_per_range=32, autosummarize=True)
        ]

    def __str__(self) -> str:
        return f"{self.dispositivo_id} {self.bloco:%Y-%m-%dT%H:%MZ}: {self.consumo}"


class Contagem(models.Model):
    """The numbers of blocks that a sum is made of.

    ``blocos_medidos`` is the sum of their measured fractions.
    """

    blocos = models.BigIntegerField()
    blocos_medidos = models.DecimalField(max_digits=20, decimal_places=4)
    blocos_interpolados = models.BigIntegerField()
    blocos_estimados = models.BigIntegerField()

    class Meta:
        abstract = True


class Soma(Rollup, Contagem):
    """Sums of a device's blocks."""

    amostras = models.BigIntegerField(null=True)

    class Meta:
        abstract = True


class ConsumoHorario(Soma):
    """Hours, UTC.

    A continuous aggregate on TimescaleDB, a view on plain PostgreSQL, as the others.
    """

    pk = models.CompositePrimaryKey("hora", "conta_id", "gateway_id", "dispositivo_id")
    hora = models.DateTimeField()
    consumo = models.DecimalField(max_digits=27, decimal_places=6, null=True)
    leituras = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "tds_new_consumo_horario"


class ConsumoDiario(Soma):
    """Days of the platform's zone (``TDS_TIME_ZONE``).

    ``dia`` is the moment at which the day begins.
    """

    pk = models.CompositePrimaryKey("dia", "conta_id", "gateway_id", "dispositivo_id")
    dia = models.DateTimeField()
    consumo = models.DecimalField(max_digits=27, decimal_places=6, null=True)
    leituras = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "tds_new_consumo_diario"


class ConsumoMensal(Soma):
    """Months of the platform's zone (``TDS_TIME_ZONE``).

    Gauges have no consumption (NULL).
    """

    pk = models.CompositePrimaryKey("mes_referencia", "conta_id", "gateway_id", "dispositivo_id")
    mes_referencia = models.DateTimeField()
    total_consumo = models.DecimalField(max_digits=27, decimal_places=6, null=True)
    media_diaria = models.DecimalField(max_digits=27, decimal_places=4, null=True)
    leituras_count = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "tds_new_consumo_mensal"

    def __str__(self) -> str:
        return f"{self.dispositivo_id} {self.mes_referencia:%Y-%m}: {self.total_consumo}"


class ConsumoParteDoDia(Soma):
    """The parts that days of every zone of Brazil are made of.

    They are the hours that begin at 2, 3 and 4 o'clock UTC, and the rest of the day from 5 o'clock on.
    ``dia`` is 5 o'clock UTC; of the parts ``hora_utc`` 2, 3 and 4 it is the 5 o'clock before them.
    """

    pk = models.CompositePrimaryKey("dia", "hora_utc", "conta_id", "gateway_id", "dispositivo_id")
    dia = models.DateTimeField()
    hora_utc = models.IntegerField()
    consumo = models.DecimalField(max_digits=27, decimal_places=6, null=True)
    leituras = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "tds_new_consumo_parte_do_dia"


class SomaDaConta(Contagem):
    """Sums of all blocks with consumption of a Conta.

    They are kept by the structure of the devices as it is now: their quantity, ``papel``, whether they are
    behind another meter (``atras``), and the unit of their consumption.
    """

    conta = models.ForeignKey(Conta, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False)
    grandeza = models.CharField(max_length=20)
    papel = models.CharField(max_length=11)
    atras = models.BooleanField()
    unidade = models.CharField(max_length=10)
    consumo = models.DecimalField(max_digits=30, decimal_places=6)

    class Meta:
        abstract = True


class ConsumoContaHorario(SomaDaConta):
    """A Conta's hours, UTC."""

    pk = models.CompositePrimaryKey("hora", "conta_id", "grandeza", "papel", "atras", "unidade")
    hora = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "tds_new_consumo_conta_horario"


class ConsumoContaDiario(SomaDaConta):
    """A Conta's days in the platform's zone."""

    pk = models.CompositePrimaryKey("dia", "conta_id", "grandeza", "papel", "atras", "unidade")
    dia = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "tds_new_consumo_conta_diario"


class ConsumoContaPendente(models.Model):
    """A Conta whose stored sums are of an earlier structure of its devices.

    A trigger writes it. Until maintenance has summed again, the Conta is answered from its devices' sums.
    ``somada_desde``: from here on its sums are of the present structure; NULL if maintenance has not begun.
    """

    conta = models.OneToOneField(
        Conta, models.CASCADE, primary_key=True, related_name="+", db_constraint=False
    )
    alterada_em = models.DateTimeField()
    somada_desde = models.DateTimeField(null=True)

    class Meta:
        db_table = "tds_new_consumo_conta_pendente"

    def __str__(self) -> str:
        return f"{self.conta_id} {self.alterada_em:%Y-%m-%dT%H:%M:%SZ}"


class ConsumoVida(models.Model):
    """The extent of a device's data: its first and last block with consumption.

    Triggers on the blocks keep it. From it follows what share of a month should have been measured, without a
    look at each device's sums.
    """

    pk = models.CompositePrimaryKey("conta_id", "dispositivo_id")
    conta = models.ForeignKey(Conta, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False)
    dispositivo = models.ForeignKey(
        Dispositivo, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    primeiro = models.DateTimeField()
    ultimo = models.DateTimeField()

    class Meta:
        db_table = "tds_new_consumo_vida"
        indexes = [models.Index(fields=["dispositivo"], name="tds_new_consumo_vida_disp")]

    def __str__(self) -> str:
        return f"{self.dispositivo_id} {self.primeiro:%Y-%m-%dT%H:%MZ} - {self.ultimo:%Y-%m-%dT%H:%MZ}"
