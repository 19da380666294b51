"""People's decisions on readings."""

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from tds_new.models.conta import Conta
from tds_new.models.dispositivo import Dispositivo
from tds_new.models.leitura import LeituraDispositivo
from tds_new.models.ocorrencia import OcorrenciaMedicao
from tds_new.models.registro import Registro

KINDS = Dispositivo.TipoLeitura


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

    def clean(self) -> None:
        """Refuse a decision that does nothing on this reading, or that lacks something.

        Raises ValidationError.
        """
        super().clean()
        if not self.decisao and self.valor_corrigido is None:
            raise ValidationError({"decisao": _("Escolha uma decisão, ou informe o valor certo.")})
        self._check_conta_chosen()
        if self.dispositivo_id is None or self.leitura_em is None:
            return
        reading = LeituraDispositivo.objects.filter(
            dispositivo=self.dispositivo_id, time=self.leitura_em
        ).first()
        if reading is None:
            raise ValidationError({"leitura_em": _("Este dispositivo não tem leitura nesse instante.")})
        self._check_reading(reading)

    def _check_conta_chosen(self) -> None:
        if self.decisao == self.Decisao.ATRIBUIDA and self.atribuida_a_id is None:
            raise ValidationError({"atribuida_a": _("Escolha a conta para a qual o consumo conta.")})
        if self.decisao != self.Decisao.ATRIBUIDA and self.atribuida_a_id is not None:
            raise ValidationError({"atribuida_a": _("Só se escolhe uma conta ao atribuir o consumo a ela.")})

    def _check_reading(self, reading: LeituraDispositivo) -> None:
        """Refuse a decision that readings of this kind do not take."""
        of_registers = (self.Decisao.REINICIO, self.Decisao.RETORNO, self.Decisao.ATRIBUIDA)
        if self.decisao in of_registers and reading.tipo_leitura not in (KINDS.ACUMULADA, KINDS.SALDO):
            raise ValidationError(
                {
                    "decisao": _(
                        "Esta leitura não é de um registrador: nela só se aprova, descarta ou corrige."
                    )
                }
            )
        value = reading.valor if self.valor_corrigido is None else self.valor_corrigido
        if self.decisao == self.Decisao.REINICIO and value < 0:
            raise ValidationError(
                {"decisao": _("Um registrador que recomeçou do zero não mostra valor negativo.")}
            )
        if self.decisao == self.Decisao.ATRIBUIDA:
            self._check_transfer()

    def _check_transfer(self) -> None:
        """Refuse to attribute what is no change of Conta, or to a third Conta."""
        found = OcorrenciaMedicao.objects.filter(
            dispositivo=self.dispositivo_id, leitura_em=self.leitura_em, classe="TRANSFERENCIA"
        ).first()
        if found is None:
            raise ValidationError(
                {"decisao": _("Só se atribui o consumo da primeira leitura depois de uma mudança de conta.")}
            )
        contas = {found.numeros.get("conta_antes"), found.numeros.get("conta_depois")}
        if self.atribuida_a_id not in contas:
            raise ValidationError(
                {
                    "atribuida_a": _(
                        "O consumo conta para a conta de antes ou para a de depois, nenhuma outra."
                    )
                }
            )
