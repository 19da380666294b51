"""Readings that the ledger found out of the ordinary."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from tds_new.models.dispositivo import Dispositivo


class OcorrenciaMedicao(models.Model):
    """A reading whose class is not NORMAL (docs/metering.md).

    ``tds_new.metering.store`` alone writes it. ``espera``: a person should decide. ``regra``: the number of
    the rule that judged the reading; ``numeros``: that rule's figures by name.
    """

    class Classe(models.TextChoices):
        TROCA = "TROCA", _("Troca de medidor")
        QUEDA = "QUEDA", _("Queda tolerada")
        VIRADA = "VIRADA", _("Virada do registrador")
        REINICIO = "REINICIO", _("Reinício do registrador")
        SUSPEITA = "SUSPEITA", _("Leitura suspeita")
        IMPLAUSIVEL = "IMPLAUSIVEL", _("Salto implausível")
        EXCESSO = "EXCESSO", _("Acima do consumo máximo")
        INCOMUM = "INCOMUM", _("Consumo incomum")
        RETORNO = "RETORNO", _("Retorno a um total anterior")
        TRANSFERENCIA = "TRANSFERENCIA", _("Mudança de conta")

    pk = models.CompositePrimaryKey("dispositivo_id", "leitura_em")
    dispositivo = models.ForeignKey(
        Dispositivo, models.CASCADE, related_name="+", verbose_name=_("dispositivo"), db_index=False
    )
    conta_id = models.BigIntegerField(db_index=True)
    leitura_em = models.DateTimeField(_("leitura de"))
    valor = models.DecimalField(_("valor"), max_digits=15, decimal_places=4)
    classe = models.CharField(_("classe"), max_length=13, choices=Classe.choices)
    inicio = models.DateTimeField(_("leitura de base"))
    valor_base = models.DecimalField(_("valor de base"), max_digits=15, decimal_places=4)
    consumo = models.DecimalField(
        _("consumo contado"),
        max_digits=16,
        decimal_places=4,
        null=True,
        help_text=_("Na unidade do registrador; vazio quando não conta."),
    )
    decidida_em = models.DateTimeField(_("decidida pela leitura de"), null=True)
    espera = models.BooleanField(_("espera uma decisão"), default=False, db_default=False)
    regra = models.CharField(_("regra"), max_length=4, default="", db_default="")
    numeros = models.JSONField(_("números"), default=dict, db_default={})

    class Meta:
        db_table = "tds_new_ocorrencia_medicao"
        verbose_name = _("ocorrência de medição")
        verbose_name_plural = _("ocorrências de medição")
        indexes = [
            models.Index(fields=["classe", "-leitura_em"], name="tds_new_ocorrencia_classe"),
            models.Index(
                fields=["dispositivo", "leitura_em"],
                condition=models.Q(espera=True),
                name="tds_new_ocorrencia_espera",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.dispositivo_id} {self.leitura_em:%Y-%m-%d %H:%M} {self.classe}"
