"""Readings that people should know of."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from tds_new.formats import date_time
from tds_new.models.conta import Conta
from tds_new.models.dispositivo import Dispositivo
from tds_new.models.gateway import Gateway
from tds_new.models.ocorrencia import OcorrenciaMedicao
from tds_new.models.revisao import RevisaoLeitura


class LeituraEmRevisao(models.Model):
    """A reading that the ledger found unusual, or that somebody has decided on.

    A view over both, so that a decision stays visible after the ledger has applied it and finds nothing
    unusual. ``classe`` is the ledger's present class (empty if it finds nothing), ``classe_decisao`` its
    class at the time of the decision. ``regra`` and ``numeros`` are of the present judgement, else of that
    time. ``decisao_codigo`` is what was decided (``RevisaoLeitura.Decisao``, or empty), ``espera`` says that
    a person should decide now.
    """

    Classe = OcorrenciaMedicao.Classe

    class Situacao(models.TextChoices):
        ESPERA = "ESPERA", _("À espera")
        AGUARDA = "AGUARDA", _("Aguarda as próximas leituras")
        RESOLVIDA = "RESOLVIDA", _("Resolvida")
        APROVADA = "APROVADA", _("Aprovada")
        DESCARTADA = "DESCARTADA", _("Descartada")
        VISTA = "VISTA", _("Vista")
        REINICIO = "REINICIO", _("Reiniciou do zero")
        RETORNO = "RETORNO", _("Voltou a um total anterior")
        ATRIBUIDA = "ATRIBUIDA", _("Atribuída a uma conta")
        CORRIGIDA = "CORRIGIDA", _("Valor corrigido")

    chave = models.CharField(max_length=40, primary_key=True)
    dispositivo = models.ForeignKey(
        Dispositivo, models.DO_NOTHING, related_name="+", verbose_name=_("dispositivo"), db_constraint=False
    )
    gateway = models.ForeignKey(
        Gateway, models.DO_NOTHING, related_name="+", verbose_name=_("gateway"), db_constraint=False
    )
    conta = models.ForeignKey(
        Conta, models.DO_NOTHING, related_name="+", verbose_name=_("conta"), db_constraint=False
    )
    leitura_em = models.DateTimeField(_("leitura de"))
    valor = models.DecimalField(_("valor"), max_digits=15, decimal_places=4, null=True)
    inicio = models.DateTimeField(_("leitura de base"), null=True)
    valor_base = models.DecimalField(_("valor de base"), max_digits=15, decimal_places=4, null=True)
    salto = models.DecimalField(_("salto"), max_digits=16, decimal_places=4, null=True)
    consumo = models.DecimalField(_("consumo contado"), max_digits=16, decimal_places=4, null=True)
    classe = models.CharField(_("classe"), max_length=13, choices=OcorrenciaMedicao.Classe.choices)
    classe_decisao = models.CharField(
        _("classe na decisão"), max_length=13, choices=OcorrenciaMedicao.Classe.choices
    )
    situacao = models.CharField(_("situação"), max_length=10, choices=Situacao.choices)
    espera = models.BooleanField()
    regra = models.CharField(_("regra"), max_length=4)
    numeros = models.JSONField(_("números"))
    valor_corrigido = models.DecimalField(_("valor corrigido"), max_digits=15, decimal_places=4, null=True)
    decisao_codigo = models.CharField(
        _("decisão"), max_length=10, choices=RevisaoLeitura.Decisao.choices, db_column="decisao"
    )
    decisao = models.ForeignKey(
        RevisaoLeitura,
        models.DO_NOTHING,
        null=True,
        related_name="+",
        verbose_name=_("decisão"),
        db_constraint=False,
    )

    class Meta:
        managed = False
        db_table = "tds_new_leitura_em_revisao"
        default_permissions = ("view", "change")
        verbose_name = _("leitura em revisão")
        verbose_name_plural = _("leituras em revisão")
        ordering = ["-espera", "-leitura_em", "chave"]

    def __str__(self) -> str:
        return f"{self.dispositivo}, {date_time(self.leitura_em, self.conta.zone)}"
