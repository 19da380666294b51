"""Refuses deletion where readings would lose their owner: deactivate instead."""

from typing import Any

from django.apps import apps
from django.db import models
from django.db.models import ProtectedError


class ProtectedQuerySet(models.QuerySet[Any]):
    """A queryset whose ``delete()`` refuses objects that have readings."""

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete the objects. Raises ProtectedError if one of them has readings."""
        for instance in self:
            instance.refuse_if_readings()
        return super().delete()


class ProtectedByReadings(models.Model):
    """A model that readings point to by ``reading_column``.

    A trigger in the database refuses deletion, too.
    """

    reading_column: str

    class Meta:
        abstract = True

    def has_readings(self) -> bool:
        """Return whether any reading belongs to this object.

        Readings that retention dropped count too: their anchors and consumption remain.
        """
        mine = {self.reading_column: self.pk}
        # Looked up by name: their modules import this one, so an import would be circular.
        owned = (apps.get_model("tds_new", name) for name in ("LeituraDispositivo", "ConsumoAncora"))
        return any(model._default_manager.filter(**mine).exists() for model in owned)

    def refuse_if_readings(self) -> None:
        """Raise ProtectedError if this object has readings."""
        if self.has_readings():
            raise ProtectedError(f"{self} has readings and cannot be deleted; deactivate it instead.", {self})

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete this object. Raises ProtectedError if it has readings."""
        self.refuse_if_readings()
        return super().delete(*args, **kwargs)
