"""The device behind a gateway: a meter, a sensor or an actuator."""

from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models, transaction
from django.db.models.functions import Now
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from tds_new.models.conta import Conta
from tds_new.models.gateway import Gateway
from tds_new.models.parametros import ParametrosMedicao
from tds_new.models.protection import ProtectedByReadings, ProtectedQuerySet
from tds_new.units import ENERGY, PULSES, VOLUME, canonical_unit

# The units that the consumption of a quantity is totalled in.
UNITS_OF_TOTALS = {"ENERGIA": ENERGY, "AGUA": VOLUME, "GAS": VOLUME}
# A trigger replaces it, when a device is stored, by the default of the device's quantity and unit.
DEFAULT_BY_QUANTITY = Decimal(-1)


class Dispositivo(ProtectedByReadings, ParametrosMedicao):
    """A device. Its ``tipo_leitura`` and ``unidade`` say what its readings are.

    Its metering parameters (``fator_conversao``, ``valor_maximo_registro``, ``consumo_maximo_hora``,
    ``tolerancia_queda``) hold from the beginning until its first
    :class:`~tds_new.models.vigencia.VigenciaParametros`. Where the plausible maximum or the tolerance of
    falls is not given at registration, a trigger puts the quantity's default there; None is "no limit".

    ``unidade_consumo`` is the unit of its consumption where that is not ``unidade`` (a register in pulses).
    ``medidor_pai`` is the meter it is behind; ``atras`` says whether that one counts, and is kept by
    triggers.
    """

    reading_column = "dispositivo_id"

    class Tipo(models.TextChoices):
        MEDIDOR = "MEDIDOR", _("Medidor")
        SENSOR = "SENSOR", _("Sensor")
        ATUADOR = "ATUADOR", _("Atuador")

    class Grandeza(models.TextChoices):
        ENERGIA = "ENERGIA", _("Energia")
        AGUA = "AGUA", _("Água")
        GAS = "GAS", _("Gás")
        TEMPERATURA = "TEMPERATURA", _("Temperatura")
        DEMANDA = "DEMANDA", _("Demanda")
        POTENCIA = "POTENCIA", _("Potência")
        VAZAO = "VAZAO", _("Vazão")
        TENSAO = "TENSAO", _("Tensão")
        CORRENTE = "CORRENTE", _("Corrente")
        FATOR_POTENCIA = "FATOR_POTENCIA", _("Fator de potência")
        PRESSAO = "PRESSAO", _("Pressão")
        UMIDADE = "UMIDADE", _("Umidade")
        NIVEL = "NIVEL", _("Nível")
        OUTRA = "OUTRA", _("Outra")

    class TipoLeitura(models.TextChoices):
        ACUMULADA = "ACUMULADA", _("Acumulada (registrador)")
        SALDO = "SALDO", _("Saldo (registrador que sobe e desce)")
        INCREMENTAL = "INCREMENTAL", _("Incremental (desde a leitura anterior)")
        INSTANTANEA = "INSTANTANEA", _("Instantânea")

    class Carimbo(models.TextChoices):
        FIM = "FIM", _("Fim do intervalo")
        INICIO = "INICIO", _("Início do intervalo")

    class Papel(models.TextChoices):
        CONSUMO = "CONSUMO", _("Consumo")
        INJECAO = "INJECAO", _("Injeção ou geração")
        INFORMATIVO = "INFORMATIVO", _("Informativo (fora dos totais)")

    class Status(models.TextChoices):
        ATIVO = "ATIVO", _("Ativo")
        INATIVO = "INATIVO", _("Inativo")
        MANUTENCAO = "MANUTENCAO", _("Em manutenção")

    conta = models.ForeignKey(
        Conta, models.CASCADE, related_name="dispositivos", verbose_name=_("conta"), editable=False
    )
    gateway = models.ForeignKey(
        Gateway, models.CASCADE, related_name="dispositivos", verbose_name=_("gateway")
    )
    codigo = models.CharField(
        _("código"),
        max_length=20,
        validators=[RegexValidator(r"^[^\x00-\x1f\x7f]+\Z", _("Sem caracteres de controle."))],
    )
    nome = models.CharField(_("nome"), max_length=100, blank=True, default="", db_default="")
    tipo = models.CharField(
        _("tipo"), max_length=10, choices=Tipo.choices, default=Tipo.MEDIDOR, db_default="MEDIDOR"
    )
    grandeza = models.CharField(
        _("grandeza"), max_length=20, choices=Grandeza.choices, default=Grandeza.ENERGIA, db_default="ENERGIA"
    )
    unidade = models.CharField(_("unidade"), max_length=10, default="kWh", db_default="kWh")
    tipo_leitura = models.CharField(
        _("tipo de leitura"),
        max_length=12,
        choices=TipoLeitura.choices,
        default=TipoLeitura.ACUMULADA,
        db_default="ACUMULADA",
    )
    unidade_consumo = models.CharField(
        _("unidade do consumo"), max_length=10, blank=True, default="", db_default=""
    )
    carimbo = models.CharField(
        _("carimbo de tempo"), max_length=6, choices=Carimbo.choices, default=Carimbo.FIM, db_default="FIM"
    )
    papel = models.CharField(
        _("papel"), max_length=11, choices=Papel.choices, default=Papel.CONSUMO, db_default="CONSUMO"
    )
    medidor_pai = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="submedidores",
        verbose_name=_("medidor principal"),
    )
    atras = models.BooleanField(_("atrás de outro medidor"), default=False, db_default=False, editable=False)
    consumo_maximo_hora = models.DecimalField(
        _("consumo máximo por hora"),
        max_digits=15,
        decimal_places=4,
        null=True,
        blank=True,
        db_default=DEFAULT_BY_QUANTITY,
        validators=[MinValueValidator(0)],
        help_text=ParametrosMedicao._meta.get_field("consumo_maximo_hora").help_text,
    )
    tolerancia_queda = models.DecimalField(
        _("tolerância de queda"),
        max_digits=15,
        decimal_places=4,
        db_default=DEFAULT_BY_QUANTITY,
        validators=[MinValueValidator(0)],
        help_text=ParametrosMedicao._meta.get_field("tolerancia_queda").help_text,
    )
    slave_id = models.PositiveSmallIntegerField(_("endereço Modbus"), null=True, blank=True)
    register_modbus = models.PositiveIntegerField(_("registrador Modbus"), null=True, blank=True)
    status = models.CharField(
        _("situação"), max_length=10, choices=Status.choices, default=Status.ATIVO, db_default="ATIVO"
    )
    last_seen = models.DateTimeField(
        _("última leitura"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("Hora do medidor na leitura mais recente."),
    )
    created_at = models.DateTimeField(_("criado em"), default=now, db_default=Now(), editable=False)

    objects = ProtectedQuerySet.as_manager()

    class Meta:
        db_table = "tds_new_dispositivo"
        verbose_name = _("dispositivo")
        verbose_name_plural = _("dispositivos")
        ordering = ["codigo"]
        constraints = [
            models.UniqueConstraint(fields=["gateway", "codigo"], name="tds_new_dispositivo_codigo"),
            models.CheckConstraint(
                condition=models.Q(status__in=["ATIVO", "INATIVO", "MANUTENCAO"]),
                name="tds_new_dispositivo_status",
            ),
            models.CheckConstraint(
                condition=models.Q(tipo_leitura__in=["ACUMULADA", "SALDO", "INCREMENTAL", "INSTANTANEA"]),
                name="tds_new_dispositivo_tipo_leitura",
            ),
            models.CheckConstraint(
                condition=models.Q(carimbo__in=["FIM", "INICIO"]), name="tds_new_dispositivo_carimbo"
            ),
            models.CheckConstraint(
                condition=models.Q(papel__in=["CONSUMO", "INJECAO", "INFORMATIVO"]),
                name="tds_new_dispositivo_papel",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.codigo} {self.nome}".strip()

    def clean(self) -> None:
        """Refuse a device too many for its gateway. Raises ValidationError.

        Refuse also a change that would give stored readings another meaning, pulses of which nobody knows
        what they count, and a main meter that cannot be.
        """
        super().clean()
        self._refuse_pulses_of_nothing()
        if self.gateway_id is None:
            return
        self._refuse_wrong_main_meter()
        before = Dispositivo.objects.filter(pk=self.pk).first()
        if before is None or before.gateway_id != self.gateway_id:
            self._refuse_over_capacity(self.gateway)
        if (
            before is None
            or (before.unidade == self.unidade and before.gateway_id == self.gateway_id)
            or not before.has_readings()
        ):
            return
        raise ValidationError(
            _("Este dispositivo já tem leituras: cadastre outro para mudar a unidade ou o gateway.")
        )

    def _refuse_pulses_of_nothing(self) -> None:
        """Refuse pulses without a unit of consumption where totals need one."""
        units = UNITS_OF_TOTALS.get(self.grandeza)
        if units is None or canonical_unit(self.unidade) != PULSES:
            return
        if canonical_unit(self.unidade_consumo) not in units:
            text = _("Este medidor conta pulsos: informe a unidade do consumo (%(units)s) e o fator.")
            raise ValidationError(text % {"units": ", ".join(units)})

    def _refuse_wrong_main_meter(self) -> None:
        """Refuse a main meter of another Conta, and one that is itself behind this device."""
        main = self.medidor_pai
        if main is None:
            return
        if main.conta_id != self.gateway.conta_id:
            raise ValidationError({"medidor_pai": _("O medidor principal é de outra conta.")})
        if self.pk is not None and main.pk in {self.pk, *descendants(self.gateway.conta_id, self.pk)}:
            text = _("Este medidor ficaria atrás de si mesmo: o principal escolhido já está atrás dele.")
            raise ValidationError({"medidor_pai": text})

    def _refuse_over_capacity(self, gateway: Gateway) -> None:
        if gateway.dispositivos.exclude(pk=self.pk).count() >= gateway.qte_max_dispositivos:
            raise ValidationError(
                {
                    "gateway": _("O gateway %(codigo)s já tem %(n)d dispositivos, a sua capacidade.")
                    % {"codigo": gateway.codigo, "n": gateway.qte_max_dispositivos}
                }
            )

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store under the gateway's Conta. Raises ValidationError if the gateway is full."""
        with transaction.atomic():
            # The lock makes two people who fill the last place wait for each other.
            gateway = Gateway.objects.select_for_update(no_key=True).get(pk=self.gateway_id)
            if self._state.adding:
                self._refuse_over_capacity(gateway)
            self.conta_id = gateway.conta_id
            super().save(*args, **kwargs)


def descendants(conta_id: int, device_id: int) -> set[int]:
    """Return the ids of all meters of a Conta that are behind a device, however far."""
    below: dict[int, list[int]] = {}
    pairs = Dispositivo.objects.filter(conta=conta_id, medidor_pai__isnull=False)
    for main, sub_meter in pairs.values_list("medidor_pai_id", "pk"):
        below.setdefault(main, []).append(sub_meter)
    found: set[int] = set()
    left = [device_id]
    while left:
        new = [pk for pk in below.get(left.pop(), ()) if pk not in found]
        found.update(new)
        left += new
    return found
