"""The base of the entries that people make about a device's metering."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Now
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from tds_new.formats import date_time
from tds_new.models.ancora import ConsumoCongelado
from tds_new.models.conta import Conta
from tds_new.models.dispositivo import Dispositivo

# Nobody registered a meter here before; an entry before it is a slip of the pen.
OLDEST_YEAR = 2000


def why_closed(moment: datetime, conta: Conta) -> str:
    """Return why ``moment`` is no longer recomputed; empty if it is.

    The text, for people, has times by the clock of ``conta``.
    """
    frozen = ConsumoCongelado.objects.first()
    if frozen is None or moment >= frozen.ate:
        return ""
    text = _(
        "O consumo até %(ate)s está fechado, porque as leituras de antes já foram apagadas: "
        "nada seria recalculado."
    )
    return text % {"ate": date_time(frozen.ate, conta.zone)}


class Registro(models.Model):
    """An entry that a person makes about a device's metering.

    A trigger marks what it touches as stale, so that it is computed again. ``moment_field`` names the field
    that says when the entry takes effect.
    """

    moment_field: str

    dispositivo = models.ForeignKey(Dispositivo, models.CASCADE, verbose_name=_("dispositivo"))
    motivo = models.CharField(_("motivo"), max_length=200, blank=True, default="", db_default="")
    registrado_por = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("registrado por"),
        editable=False,
    )
    registrado_em = models.DateTimeField(_("registrado em"), default=now, db_default=Now(), editable=False)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return (
            f"{self.dispositivo}, {date_time(getattr(self, self.moment_field), self.dispositivo.conta.zone)}"
        )

    def clean(self) -> None:
        """Refuse a second entry of a device at one moment.

        Refuse also a moment at which nothing is computed any more. Raises ValidationError.
        """
        super().clean()
        moment: datetime | None = getattr(self, self.moment_field)
        if moment is None or self.dispositivo_id is None:
            return
        if moment.year < OLDEST_YEAR:
            raise ValidationError({self.moment_field: _("Confira o ano: antes de 2000 não há medição aqui.")})
        others: models.QuerySet[Any] = type(self)._default_manager.filter(
            **{"dispositivo": self.dispositivo_id, self.moment_field: moment}
        )
        if others.exclude(pk=self.pk).exists():
            raise ValidationError(
                {
                    self.moment_field: _(
                        "Este dispositivo já tem um registro deste tipo nesse mesmo instante; altere aquele."
                    )
                }
            )
        closed = why_closed(moment, self.dispositivo.conta)
        if closed:
            raise ValidationError({self.moment_field: closed})
