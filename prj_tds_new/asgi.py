"""The ASGI application.

With ``TDS_EMBED_CONSUMER`` its lifespan runs the consumer too.
"""

import os

from django.core.asgi import get_asgi_application

from prj_tds_new.charset import without_charset_asgi

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prj_tds_new.settings")
web = without_charset_asgi(get_asgi_application())

# Imported only now: both need the settings, and the consumer needs the models.
from django.conf import settings  # noqa: E402

from prj_tds_new import collector  # noqa: E402
from prj_tds_new.lifespan import with_consumer  # noqa: E402

application = with_consumer(web) if settings.TDS_EMBED_CONSUMER else web
collector.settle()
