"""WSGI application for gunicorn."""

import logging
import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from prj_tds_new import collector
from prj_tds_new.charset import without_charset

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prj_tds_new.settings")
application = without_charset(get_wsgi_application())
collector.settle()
if settings.TDS_EMBED_CONSUMER:
    logging.getLogger("tds_new").warning(
        "TDS_EMBED_CONSUMER is on, but WSGI has no lifespan: no consumer runs here; serve prj_tds_new.asgi"
    )
