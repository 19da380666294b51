"""Deletion is refused where readings would lose their owner: deactivate instead."""

from typing import Any

from django.db import models
from django.db.models import ProtectedError


class ProtectedQuerySet(models.QuerySet[Any]):
    """A queryset whose ``delete()`` refuses objects that have readings."""

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete the objects. Raises ProtectedError where one of them has readings."""
        for instance in self:
            instance.refuse_if_readings()
        return super().delete()


class ProtectedByReadings(models.Model):
    """A model that readings point to by ``reading_column``. The database refuses too (trigger in migration 0002)."""

    reading_column: str

    class Meta:
        abstract = True

    def has_readings(self) -> bool:
        """Whether any reading belongs to this object, or did until retention left only an anchor and what came of it."""
        from tds_new.models.consumo import ConsumoAncora  # the chain's last links import this module
        from tds_new.models.leitura import LeituraDispositivo

        mine = {self.reading_column: self.pk}
        return (
            LeituraDispositivo.objects.filter(**mine).exists()
            or ConsumoAncora.objects.filter(**mine).exists()
        )

    def refuse_if_readings(self) -> None:
        """Raise ProtectedError where this object has readings."""
        if self.has_readings():
            raise ProtectedError(f"{self} has readings and cannot be deleted; deactivate it instead.", {self})

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete this object. Raises ProtectedError where it has readings."""
        self.refuse_if_readings()
        return super().delete(*args, **kwargs)
