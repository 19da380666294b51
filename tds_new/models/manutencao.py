"""The record of maintenance tasks."""

from django.db import models
from django.db.models import Q
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _


class ManutencaoQuerySet(models.QuerySet["ManutencaoExecucao"]):
    """Maintenance tasks, and which of them are overdue."""

    def overdue(self) -> "ManutencaoQuerySet":
        """Return the tasks that should have succeeded again by now, or never have."""
        return self.filter(Q(prazo__lt=now()) | Q(prazo=None))


class ManutencaoExecucao(models.Model):
    """A maintenance task: when it last ran, and how that ended.

    A policy of TimescaleDB, the retention, or the deletion of expired logins.
    """

    nome = models.CharField(_("nome"), max_length=120, primary_key=True)
    ultima_execucao = models.DateTimeField(_("última execução"))
    ultimo_sucesso = models.DateTimeField(_("último sucesso"), null=True)
    erro = models.TextField(
        _("erro"),
        blank=True,
        default="",
        db_default="",
        help_text=_("Da última execução; vazio quando deu certo."),
    )
    prazo = models.DateTimeField(_("prazo"), null=True, help_text=_("Até quando deve dar certo de novo."))

    objects = ManutencaoQuerySet.as_manager()

    class Meta:
        db_table = "tds_new_manutencao_execucao"
        verbose_name = _("rotina de manutenção")
        verbose_name_plural = _("rotinas de manutenção")
        ordering = ["nome"]

    def __str__(self) -> str:
        return self.nome
