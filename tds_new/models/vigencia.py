"""Metering parameters that are in force from a moment on."""

from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from tds_new.models.dispositivo import Dispositivo
from tds_new.models.parametros import ParametrosMedicao
from tds_new.models.registro import Registro

PLANNED_AHEAD = timedelta(days=366)


class VigenciaParametros(Registro, ParametrosMedicao):
    """A device's metering parameters from a moment on, all four of them.

    Before the first, the device's own hold.
    """

    moment_field = "desde"

    desde = models.DateTimeField(_("desde"))

    class Meta:
        db_table = "tds_new_vigencia_parametros"
        verbose_name = _("vigência de parâmetros")
        verbose_name_plural = _("vigências de parâmetros")
        ordering = ["desde"]
        constraints = [
            models.UniqueConstraint(fields=["dispositivo", "desde"], name="tds_new_vigencia_chave")
        ]

    def clean(self) -> None:
        """Refuse a moment more than a year ahead. Raises ValidationError.

        Planned work is entered before it is done; a date further ahead is a slip of the pen.
        """
        super().clean()
        if self.desde is not None and self.desde > now() + PLANNED_AHEAD:
            raise ValidationError(
                {"desde": _("Confira a data: uma mudança planejada é aceita até um ano à frente.")}
            )


def parameters_in_force(
    device: Dispositivo, moment: datetime, *, inclusive: bool = True
) -> ParametrosMedicao:
    """Return the parameters of ``device`` in force at ``moment``.

    If not ``inclusive``, they are those in force just before it.
    """
    before = {"desde__lte" if inclusive else "desde__lt": moment}
    return (
        VigenciaParametros.objects.filter(dispositivo=device.pk, **before).order_by("-desde").first()
        or device
    )
