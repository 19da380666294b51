"""People's decisions on readings."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from tds_new.models.registro import Registro


class RevisaoLeitura(Registro):
    """A person's decision on one reading.

    It accepts the reading whatever the plausible maximum says, or discards it. The last fields are the
    evidence, stored by a trigger: the ledger's judgement at the time of the decision.
    """

    moment_field = "leitura_em"

    class Decisao(models.TextChoices):
        APROVADA = "APROVADA", _("Aprovada")
        DESCARTADA = "DESCARTADA", _("Descartada")

    leitura_em = models.DateTimeField(_("leitura de"))
    decisao = models.CharField(_("decisão"), max_length=10, choices=Decisao.choices)
    conta_id = models.BigIntegerField(null=True, editable=False)
    valor = models.DecimalField(_("valor"), max_digits=15, decimal_places=4, null=True, editable=False)
    classe = models.CharField(
        _("classe na decisão"), max_length=11, default="", db_default="", editable=False
    )
    inicio = models.DateTimeField(_("leitura de base"), null=True, editable=False)
    valor_base = models.DecimalField(
        _("valor de base"), max_digits=15, decimal_places=4, null=True, editable=False
    )

    class Meta:
        db_table = "tds_new_revisao_leitura"
        verbose_name = _("decisão sobre leitura")
        verbose_name_plural = _("decisões sobre leituras")
        ordering = ["-leitura_em"]
        constraints = [
            models.UniqueConstraint(
                fields=["dispositivo", "leitura_em"], name="tds_new_revisao_leitura_chave"
            ),
            models.CheckConstraint(
                condition=models.Q(decisao__in=["APROVADA", "DESCARTADA"]),
                name="tds_new_revisao_leitura_decisao",
            ),
        ]
