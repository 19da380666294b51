"""The gateway, which alone talks to the platform and decides whose a reading is."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models, transaction
from django.db.models.functions import Now
from django.utils.deconstruct import deconstructible
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from tds_new.mac import normalise_mac
from tds_new.models.conta import Conta
from tds_new.models.protection import ProtectedByReadings, ProtectedQuerySet


@deconstructible(path="tds_new.migrations._validators.HistoryStart")
class HistoryStart:
    """The default of a gateway's oldest reading time."""

    def __call__(self) -> datetime:
        """Return the oldest reading time that a gateway registered now may send."""
        return now() - timedelta(days=settings.TDS_HISTORY_DAYS)


class Gateway(ProtectedByReadings):
    """A gateway in the field.

    Its MAC is unique in the whole system: the platform finds the tenant by it.
    """

    reading_column = "gateway_id"

    conta = models.ForeignKey(Conta, models.CASCADE, related_name="gateways", verbose_name=_("conta"))
    codigo = models.CharField(_("código"), max_length=30)
    mac = models.CharField(
        _("MAC"),
        max_length=17,
        unique=True,
        help_text=_("Aceita aa:bb:cc:dd:ee:ff, AA-BB-… ou sem separador."),
    )
    device_id = models.CharField(
        _("identificador no tópico"),
        max_length=20,
        unique=True,
        null=True,
        blank=True,
        help_text=_("Só para gateways que publicam com outro nome em vez do MAC."),
        validators=[
            RegexValidator(r"^[A-Za-z0-9_.-]{1,20}\Z", _("Use letras, dígitos, ponto, hífen e sublinhado."))
        ],
    )
    nome = models.CharField(_("nome"), max_length=100, blank=True, default="", db_default="")
    descricao = models.TextField(_("descrição"), blank=True, default="", db_default="")
    latitude = models.DecimalField(
        _("latitude"),
        max_digits=9,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(-90), MaxValueValidator(90)],
    )
    longitude = models.DecimalField(
        _("longitude"),
        max_digits=9,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(-180), MaxValueValidator(180)],
    )
    qte_max_dispositivos = models.PositiveSmallIntegerField(
        _("capacidade de dispositivos"), default=8, db_default=8, validators=[MinValueValidator(1)]
    )
    intervalo_esperado_s = models.PositiveIntegerField(
        _("intervalo esperado (s)"),
        default=300,
        db_default=300,
        validators=[MinValueValidator(1), MaxValueValidator(86_400)],
        help_text=_(
            "De quanto em quanto tempo ele dá sinal de vida; fica offline após três intervalos "
            "(no mínimo 5 minutos)."
        ),
    )
    aceita_leituras_desde = models.DateTimeField(
        _("aceita leituras desde"), default=HistoryStart(), db_default=Now() - timedelta(days=730)
    )
    firmware_version = models.CharField(
        _("versão do firmware"), max_length=50, blank=True, default="", db_default=""
    )
    is_active = models.BooleanField(_("ativo"), default=True, db_default=True)
    is_online = models.BooleanField(_("online"), default=False, db_default=False, editable=False)
    last_seen = models.DateTimeField(_("último sinal"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("criado em"), default=now, db_default=Now(), editable=False)

    objects = ProtectedQuerySet.as_manager()

    class Meta:
        db_table = "tds_new_gateway"
        verbose_name = _("gateway")
        verbose_name_plural = _("gateways")
        ordering = ["codigo"]
        constraints = [
            models.UniqueConstraint(fields=["conta", "codigo"], name="tds_new_gateway_codigo"),
            models.CheckConstraint(
                condition=models.Q(mac__regex=r"^([0-9a-f]{2}:){5}[0-9a-f]{2}$"),
                name="tds_new_gateway_mac_form",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.codigo} ({self.mac})"

    def has_readings(self) -> bool:
        """Return whether any reading came through it.

        It looks by its devices, because the readings' key begins with the device.
        """
        return any(device.has_readings() for device in self.dispositivos.all())

    def clean_fields(self, exclude: Any = None) -> None:
        """Validate, taking the MAC in any of its spellings."""
        self.mac = normalise_mac(self.mac) or self.mac
        self.device_id = self.device_id or None
        super().clean_fields(exclude)

    def clean(self) -> None:
        """Refuse a malformed MAC, and a topic name that could be taken for a MAC."""
        super().clean()
        if normalise_mac(self.mac) is None:
            raise ValidationError({"mac": _("Informe um MAC, por exemplo aa:bb:cc:dd:ee:ff.")})
        if self.device_id and normalise_mac(self.device_id):
            raise ValidationError(
                {"device_id": _("Parece um MAC; deixe vazio, o MAC já vale como identificador.")}
            )

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store with the canonical MAC; the devices follow the gateway into another Conta.

        Raises ValidationError if the MAC is malformed.
        """
        canonical = normalise_mac(self.mac)
        if canonical is None:
            raise ValidationError({"mac": _("Informe um MAC, por exemplo aa:bb:cc:dd:ee:ff.")})
        self.mac = canonical
        self.device_id = self.device_id or None
        with transaction.atomic():
            super().save(*args, **kwargs)
            self.dispositivos.exclude(conta=self.conta).update(conta=self.conta)
