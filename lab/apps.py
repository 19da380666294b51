"""The laboratory as a Django application: commands, no models."""

from django.apps import AppConfig


class LabConfig(AppConfig):
    """Benchmarks, fault injection and fuzzing."""

    name = "lab"
    verbose_name = "Laboratory"
