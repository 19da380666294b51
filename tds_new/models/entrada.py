"""Counters of failed logins, and the networks that people log in from."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class TentativaEntrada(models.Model):
    """A counter of failed logins: one row of fixed size, however many there were.

    ``chave`` is a keyed hash of what is counted, so that an address that belongs to nobody is not stored.
    Rows that have expired count nothing; logins and the maintenance delete them.
    """

    class Tipo(models.TextChoices):
        PESSOA_E_REDE = "PESSOA_E_REDE", _("e-mail e rede")
        PESSOA_E_VIZINHANCA = "PESSOA_E_VIZINHANCA", _("e-mail e redes vizinhas")
        PESSOA = "PESSOA", _("e-mail")
        REDE = "REDE", _("rede")

    chave = models.UUIDField(primary_key=True, editable=False)
    tipo = models.CharField(_("tipo"), max_length=20, choices=Tipo.choices)
    usuario = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        related_name="tentativas_entrada",
        verbose_name=_("usuário"),
        help_text=_("Vazio quando o e-mail não é de ninguém, e para redes."),
    )
    rede = models.CharField(_("rede"), max_length=50, default="", db_default="")
    falhas = models.PositiveIntegerField(_("falhas"), default=0, db_default=0)
    ultima_em = models.DateTimeField(_("última em"))
    expira_em = models.DateTimeField(_("vale até"), db_index=True)

    class Meta:
        db_table = "tds_new_tentativa_entrada"
        verbose_name = _("tentativa de entrada")
        verbose_name_plural = _("tentativas de entrada")

    def __str__(self) -> str:
        return f"{self.get_tipo_display()}: {self.usuario or '-'} {self.rede}".strip()


class RedeConhecida(models.Model):
    """A network from which a person has logged in, and when that was last."""

    usuario = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        related_name="redes_conhecidas",
        verbose_name=_("usuário"),
    )
    rede = models.CharField(_("rede"), max_length=50)
    ultima_em = models.DateTimeField(_("última em"), db_index=True)

    class Meta:
        db_table = "tds_new_rede_conhecida"
        verbose_name = _("rede conhecida")
        verbose_name_plural = _("redes conhecidas")
        constraints = [
            models.UniqueConstraint(fields=["usuario", "rede"], name="tds_new_rede_conhecida_unica")
        ]

    def __str__(self) -> str:
        return f"{self.usuario} {self.rede}"
