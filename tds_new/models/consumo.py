"""Consumption, derived from the readings by ``tds_new.metering``: read-only for everybody else."""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models.functions import Now

from tds_new.models.conta import Conta
from tds_new.models.dispositivo import Dispositivo
from tds_new.models.gateway import Gateway


class Rollup(models.Model):
    """What blocks and the sums over them share. Gauges have no consumption, registers no gauge columns (NULL)."""

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
    """A device's 15 minutes: the fact that every hour, day, month and peak is a sum of (docs/metering.md).

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
        # By time alone, for all devices: what refreshing the sums over blocks asks for. Blocks come in order, so little is enough.
        indexes = [
            BrinIndex(fields=["bloco"], name="tds_new_consumo_bloco", pages_per_range=32, autosummarize=True)
        ]

    def __str__(self) -> str:
        return f"{self.dispositivo_id} {self.bloco:%Y-%m-%dT%H:%MZ}: {self.consumo}"


class Contagem(models.Model):
    """How many blocks a sum is made of. ``blocos_medidos`` is the sum of their measured fractions."""

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
    """Hours, UTC. A continuous aggregate on TimescaleDB, a view on plain PostgreSQL, as the two below."""

    pk = models.CompositePrimaryKey("hora", "conta_id", "gateway_id", "dispositivo_id")
    hora = models.DateTimeField()
    consumo = models.DecimalField(max_digits=27, decimal_places=6, null=True)
    leituras = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "tds_new_consumo_horario"


class ConsumoDiario(Soma):
    """Days of the platform's zone (``TDS_TIME_ZONE``); ``dia`` is the moment at which the day begins."""

    pk = models.CompositePrimaryKey("dia", "conta_id", "gateway_id", "dispositivo_id")
    dia = models.DateTimeField()
    consumo = models.DecimalField(max_digits=27, decimal_places=6, null=True)
    leituras = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "tds_new_consumo_diario"


class ConsumoMensal(Soma):
    """Months of the platform's zone (``TDS_TIME_ZONE``); gauges have no consumption (NULL)."""

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
    """The parts that days of every zone of Brazil are made of: the hours from 2, 3 and 4 o'clock UTC on, and from 5 o'clock on the rest.

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
    """Sums of all blocks with consumption of a Conta, by the quantity and unit that their devices have now."""

    conta = models.ForeignKey(Conta, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False)
    grandeza = models.CharField(max_length=20)
    unidade = models.CharField(max_length=10)
    consumo = models.DecimalField(max_digits=30, decimal_places=6)

    class Meta:
        abstract = True


class ConsumoContaHorario(SomaDaConta):
    """A Conta's hours, UTC."""

    pk = models.CompositePrimaryKey("hora", "conta_id", "grandeza", "unidade")
    hora = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "tds_new_consumo_conta_horario"


class ConsumoContaDiario(SomaDaConta):
    """A Conta's days in the platform's zone."""

    pk = models.CompositePrimaryKey("dia", "conta_id", "grandeza", "unidade")
    dia = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "tds_new_consumo_conta_diario"


class ConsumoVida(models.Model):
    """A device's first and last block with consumption for a Conta; kept by triggers on the blocks (migration 0009).

    From it follows what share of a month should have been measured, without a look at each device's sums.
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

    def __str__(self) -> str:
        return f"{self.dispositivo_id} {self.primeiro:%Y-%m-%dT%H:%MZ} - {self.ultimo:%Y-%m-%dT%H:%MZ}"


class ConsumoPendente(models.Model):
    """Devices whose blocks from ``inicio`` to ``fim`` are to be computed; written by triggers in the transaction that makes them stale.

    A device whose computation failed is held back until ``tentar_em``, with the ``erro``.
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
    """A run of ``rebuild_consumption`` that has not ended, so that one that was killed is gone on with.

    Of its ``dispositivos`` the first ``entregues`` are in the queue, or computed; with ``novos_entregues`` the newest blocks of all, too.
    There is one for each ``pedido``, the run's options.
    """

    pedido = models.TextField(unique=True)
    iniciada_em = models.DateTimeField(db_default=Now())
    desde = models.DateTimeField(null=True)
    dispositivos = ArrayField(models.BigIntegerField())
    entregues = models.IntegerField(default=0, db_default=0)
    novos_entregues = models.BooleanField(default=False, db_default=False)

    class Meta:
        db_table = "tds_new_consumo_reconstrucao"

    def __str__(self) -> str:
        return f"{self.pedido}: {self.entregues}/{len(self.dispositivos)}"


class ConsumoParticao(models.Model):
    """A share of the devices (``id % PARTICOES``), computed by one worker at a time, which locks this row."""

    PARTICOES = 8

    id = models.SmallIntegerField(primary_key=True)
    processado_em = models.DateTimeField(null=True)

    class Meta:
        db_table = "tds_new_consumo_particao"


class ConsumoCongelado(models.Model):
    """A single row once readings were dropped: those before ``ate`` may be gone, and no more of them are stored."""

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
    """A device's readings just before ``ConsumoCongelado.ate``, from which its chain goes on once the readings before are dropped.

    From them its blocks that begin at ``final_ate`` (one value a device) or later can be computed again; those before are final. What
    people had decided on them by then holds for good: discarded readings are none of them, ``aprovada`` says which were approved.
    While it has any the device is not deleted: its blocks would be without an owner.
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
    aprovada = models.BooleanField(default=False, db_default=False)

    class Meta:
        db_table = "tds_new_consumo_ancora"

    def __str__(self) -> str:
        return f"{self.dispositivo_id} {self.leitura_em:%Y-%m-%dT%H:%M:%SZ} {self.valor} {self.unidade}"
