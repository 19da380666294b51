#!/usr/bin/env python
"""Django's command-line entry point."""

import os
import sys


def main() -> None:
    """Run the management command named on the command line.

    Where the database cannot be reached, say so in one line and exit with status 1.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prj_tds_new.settings")
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except Exception as error:
        from tds_new.management import away

        if not away.is_away(error) or "--traceback" in sys.argv:
            raise
        sys.exit(f"[ERROR] {away.advice(error)}")


if __name__ == "__main__":
    main()
