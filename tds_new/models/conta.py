"""The tenant: its people, and the counters that follow its data."""

import re
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Now
from django.utils.deconstruct import deconstructible
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from tds_new.models.protection import ProtectedByReadings, ProtectedQuerySet

_CNPJ = re.compile(r"[0-9A-Z]{12}[0-9]{2}")


@deconstructible(path="tds_new.migrations._validators.CNPJValidator")
class CNPJValidator:
    """Refuses a CNPJ whose check digits are wrong.

    Digits or, since July 2026, letters in the first twelve places; each counts as its ASCII code less 48,
    modulo 11 (Instrução Normativa RFB 2.229/2024).
    """

    def __call__(self, value: str) -> None:
        """Raise ValidationError where ``value`` is no CNPJ."""
        plain = re.sub(r"[./-]", "", value).upper()
        if not _CNPJ.fullmatch(plain):
            raise ValidationError(_("Informe os 14 caracteres do CNPJ."))
        numbers = [ord(c) - 48 for c in plain]
        for length in (12, 13):
            weights = [(length - 1 - i) % 8 + 2 for i in range(length)]
            rest = sum(n * w for n, w in zip(numbers, weights, strict=False)) % 11
            if numbers[length] != (0 if rest < 2 else 11 - rest):
                raise ValidationError(_("Os dígitos verificadores do CNPJ não conferem."))


@deconstructible(path="tds_new.migrations._validators.TimeZoneValidator")
class TimeZoneValidator:
    """Refuses what is not an IANA time zone."""

    def __call__(self, value: str) -> None:
        """Raise ValidationError where ``value`` is no time zone."""
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, OSError, ValueError):
            raise ValidationError(_("Informe um fuso horário IANA, por exemplo America/Sao_Paulo.")) from None


class ContaQuerySet(ProtectedQuerySet):
    """Contas, and which of them somebody may see."""

    def visible_to(self, user: Any) -> "ContaQuerySet":
        """Return the active Contas of which ``user`` is an active member.

        None of them for somebody who is not logged in or not active.
        """
        if not user.is_authenticated or not user.is_active:
            return self.none()
        return self.filter(is_active=True, memberships__user=user, memberships__is_active=True)


class Conta(ProtectedByReadings):
    """A tenant. Everything that is measured belongs to exactly one."""

    reading_column = "conta_id"

    name = models.CharField(_("nome"), max_length=150)
    cnpj = models.CharField(
        _("CNPJ"), max_length=18, blank=True, default="", db_default="", validators=[CNPJValidator()]
    )
    timezone = models.CharField(
        _("fuso horário"),
        max_length=64,
        default="America/Sao_Paulo",
        db_default="America/Sao_Paulo",
        validators=[TimeZoneValidator()],
    )
    is_active = models.BooleanField(_("ativa"), default=True, db_default=True)
    created_at = models.DateTimeField(_("criada em"), default=now, db_default=Now(), editable=False)
    users = models.ManyToManyField(
        settings.AUTH_USER_MODEL, through="tds_new.ContaMembership", related_name="contas"
    )

    objects = ContaQuerySet.as_manager()

    class Meta:
        db_table = "tds_new_conta"
        verbose_name = _("conta")
        verbose_name_plural = _("contas")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def zone(self) -> ZoneInfo:
        """The zone of this Conta's calendar."""
        return ZoneInfo(self.timezone)


class ContaMembership(models.Model):
    """A person's role in a Conta."""

    class Role(models.TextChoices):
        ADMIN = "admin", _("Administrador")
        EDITOR = "editor", _("Editor")
        VIEWER = "viewer", _("Leitor")

    conta = models.ForeignKey(Conta, models.CASCADE, related_name="memberships", verbose_name=_("conta"))
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships", verbose_name=_("usuário")
    )
    role = models.CharField(
        _("papel"), max_length=10, choices=Role.choices, default=Role.VIEWER, db_default="viewer"
    )
    is_active = models.BooleanField(_("ativo"), default=True, db_default=True)
    created_at = models.DateTimeField(_("criado em"), default=now, db_default=Now(), editable=False)

    class Meta:
        db_table = "tds_new_conta_membership"
        verbose_name = _("participação")
        verbose_name_plural = _("participações")
        constraints = [
            models.UniqueConstraint(fields=["conta", "user"], name="tds_new_membership_unique"),
            models.CheckConstraint(
                condition=models.Q(role__in=["admin", "editor", "viewer"]), name="tds_new_membership_role"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} / {self.conta} ({self.role})"


class ContaAtividade(models.Model):
    """Counters that tell whether a Conta's data has changed.

    Its counters change with every stored batch, every change of state and every change of computed
    consumption. Web pages compare them to know whether anything changed. A table apart from ``Conta``,
    because it is written with every batch.
    """

    conta = models.OneToOneField(Conta, models.CASCADE, primary_key=True, related_name="atividade")
    ingestao_seq = models.BigIntegerField(default=0, db_default=0)
    status_seq = models.BigIntegerField(default=0, db_default=0)
    consumo_seq = models.BigIntegerField(default=0, db_default=0)
    ultima_leitura = models.DateTimeField(null=True)

    class Meta:
        db_table = "tds_new_conta_atividade"

    def __str__(self) -> str:
        return f"{self.conta_id}: {self.ingestao_seq}/{self.status_seq}/{self.consumo_seq}"
