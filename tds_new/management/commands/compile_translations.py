"""Compile the translations; `make install` does it."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from tds_new.catalog import CatalogError, compile_catalog


class Command(BaseCommand):
    """Write a ``.mo`` beside each ``.po``."""

    help = "Compile the .po files of the application to .mo; needs no GNU gettext."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Compile every catalogue of ``LOCALE_PATHS``.

        Raises CommandError if one is not valid.
        """
        for folder in settings.LOCALE_PATHS:
            for source in sorted(Path(folder).glob("*/LC_MESSAGES/*.po")):
                try:
                    count = compile_catalog(source, source.with_suffix(".mo"))
                except CatalogError as error:
                    raise CommandError(str(error)) from error
                self.stdout.write(f"[OK] {source.parent.parent.name}: {count - 1} messages")
