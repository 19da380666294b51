"""The four metering parameters, of a device and of each dated change of them."""

from decimal import Decimal

from django.core.validators import MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _


class ParametrosMedicao(models.Model):
    """The parameters by which a meter's register is read (docs/metering.md).

    All but the factor are in the register's unit, before the factor.
    """

    fator_conversao = models.DecimalField(
        _("fator de conversão"),
        max_digits=12,
        decimal_places=6,
        default=Decimal(1),
        db_default=Decimal(1),
        validators=[MinValueValidator(Decimal("0.000001"))],
        help_text=_("A constante do medidor (TC × TP): consumo = diferença do registrador × fator."),
    )
    valor_maximo_registro = models.DecimalField(
        _("valor máximo do registrador"),
        max_digits=15,
        decimal_places=4,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal("0.0001"))],
        help_text=_("O valor em que o registrador volta a zero, por exemplo 1000000."),
    )
    consumo_maximo_hora = models.DecimalField(
        _("consumo máximo por hora"),
        max_digits=15,
        decimal_places=4,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text=_(
            "Na unidade do registrador, antes do fator; "
            "o que passar disso fica suspeito até que alguém decida."
        ),
    )
    tolerancia_queda = models.DecimalField(
        _("tolerância de queda"),
        max_digits=15,
        decimal_places=4,
        default=Decimal(0),
        db_default=Decimal(0),
        validators=[MinValueValidator(0)],
        help_text=_("Quedas até este valor são ruído e não contam."),
    )

    class Meta:
        abstract = True
