"""Meter changes."""

from decimal import Decimal

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.timezone import now
from django.utils.translation import gettext_lazy as _

from tds_new.formats import register
from tds_new.models.dispositivo import Dispositivo
from tds_new.models.registro import Registro
from tds_new.models.vigencia import parameters_in_force

KINDS = Dispositivo.TipoLeitura
REGISTERS = (KINDS.ACUMULADA, KINDS.SALDO)


class TrocaMedidor(Registro):
    """A meter change: the old meter's last register value and the new one's first."""

    moment_field = "ocorrida_em"

    ocorrida_em = models.DateTimeField(_("ocorrida em"))
    leitura_final = models.DecimalField(_("leitura final do medidor antigo"), max_digits=15, decimal_places=4)
    leitura_inicial = models.DecimalField(
        _("leitura inicial do medidor novo"), max_digits=15, decimal_places=4, default=Decimal(0)
    )

    class Meta:
        db_table = "tds_new_troca_medidor"
        verbose_name = _("troca de medidor")
        verbose_name_plural = _("trocas de medidor")
        ordering = ["-ocorrida_em"]
        constraints = [
            models.UniqueConstraint(fields=["dispositivo", "ocorrida_em"], name="tds_new_troca_medidor_chave")
        ]

    def clean(self) -> None:
        """Refuse a change that has not happened yet, or values that no register shows.

        Refuse also a change of a device that is no register. Raises ValidationError.
        """
        super().clean()
        if self.dispositivo_id is None or self.ocorrida_em is None:
            return
        if self.dispositivo.tipo_leitura not in REGISTERS:
            raise ValidationError(
                _(
                    "Só um medidor de leitura acumulada ou de saldo tem registrador: "
                    "para este dispositivo não há troca a registrar."
                )
            )
        if self.ocorrida_em > now():
            raise ValidationError(
                {"ocorrida_em": _("A troca ainda não aconteceu: registre-a depois de feita.")}
            )
        # The old meter ended under the parameters before this moment; the new one begins under those from it
        # on.
        for field, inclusive in (("leitura_final", False), ("leitura_inicial", True)):
            parameters = parameters_in_force(self.dispositivo, self.ocorrida_em, inclusive=inclusive)
            self._refuse_beyond(field, parameters.valor_maximo_registro)

    def _refuse_beyond(self, field: str, capacity: Decimal | None) -> None:
        """Raise ValidationError if a register of ``capacity`` does not reach the value."""
        value: Decimal | None = getattr(self, field)
        if value is not None and value < 0 and self.dispositivo.tipo_leitura != KINDS.SALDO:
            raise ValidationError({field: _("Um registrador não mostra valor negativo.")})
        if value is not None and capacity is not None and value > capacity:
            text = _("Acima do valor máximo do registrador, que é %(maximo)s.")
            raise ValidationError({field: text % {"maximo": register(capacity)}})
