"""ASGI application."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prj_tds_new.settings")
application = get_asgi_application()
