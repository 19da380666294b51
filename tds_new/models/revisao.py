"""People's decisions on readings."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from tds_new.models.conta import Conta
from tds_new.models.registro import Registro


class RevisaoLeitura(Registro):
    """A person's decision on one reading.

    What each decision does is said in docs/metering.md. It is empty where only the value is corrected:
    ``valor_corrigido`` stands for the received value, alone or with a decision. ``atribuida_a`` is the Conta
    that ``ATRIBUIDA`` gives the consumption to. The last fields are the evidence, stored by a trigger: the
    ledger's judgement at the time of the decision.
    """

    moment_field = "leitura_em"

    class Decisao(models.TextChoices):
        APROVADA = "APROVADA", _("Aprovada")
        DESCARTADA = "DESCARTADA", _("Descartada")
        VISTA = "VISTA", _("Vista")
        REINICIO = "REINICIO", _("Reiniciou do zero")
        RETORNO = "RETORNO", _("Voltou a um total anterior")
        ATRIBUIDA = "ATRIBUIDA", _("Atribuída a uma conta")

    leitura_em = models.DateTimeField(_("leitura de"))
    decisao = models.CharField(
        _("decisão"), max_length=10, choices=Decisao.choices, blank=True, default="", db_default=""
    )
    valor_corrigido = models.DecimalField(
        _("valor corrigido"), max_digits=15, decimal_places=4, null=True, blank=True
    )
    atribuida_a = models.ForeignKey(
        Conta, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("atribuída a")
    )
    conta_id = models.BigIntegerField(null=True, editable=False)
    valor = models.DecimalField(_("valor"), max_digits=15, decimal_places=4, null=True, editable=False)
    classe = models.CharField(
        _("classe na decisão"), max_length=13, default="", db_default="", editable=False
    )
    inicio = models.DateTimeField(_("leitura de base"), null=True, editable=False)
    valor_base = models.DecimalField(
        _("valor de base"), max_digits=15, decimal_places=4, null=True, editable=False
    )

    regra = models.CharField(_("regra"), max_length=4, default="", db_default="", editable=False)
    numeros = models.JSONField(_("números"), default=dict, db_default={}, editable=False)

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
                condition=models.Q(
                    decisao__in=["APROVADA", "DESCARTADA", "VISTA", "REINICIO", "RETORNO", "ATRIBUIDA"]
                )
                | models.Q(decisao="", valor_corrigido__isnull=False),
                name="tds_new_revisao_leitura_decisao",
            ),
            models.CheckConstraint(
                condition=models.Q(decisao="ATRIBUIDA", atribuida_a__isnull=False)
                | (~models.Q(decisao="ATRIBUIDA") & models.Q(atribuida_a__isnull=True)),
                name="tds_new_revisao_leitura_atribuida_a",
            ),
        ]
