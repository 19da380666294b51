"""Settings: one file, read from the environment, that refuses nonsense at start.

docs/configuration.md has a table of all names.
"""

import os
import secrets
from pathlib import Path

from csp.constants import NONE, SELF

from prj_tds_new import env
from tds_new.embedded import state as embedded_state

BASE_DIR = Path(__file__).resolve().parent.parent
env.load_dotenv(BASE_DIR / "environments" / ".env")

# --- the embedded default, without DATABASE_URL -------------------------------------------------------------
TDS_DATA_DIR = Path(env.text("TDS_DATA_DIR", str(BASE_DIR / "var")))
EMBEDDED = not env.secret("DATABASE_URL", "")
_embedded = embedded_state.read(TDS_DATA_DIR) if EMBEDDED else None
# Port 9 (discard) refuses at once: without `make run`, commands that need no database work, and any other
# says what is missing.
DATABASE_URL = env.secret(
    "DATABASE_URL", _embedded.database_url if _embedded else "postgres://tds_new@127.0.0.1:9/tds_new"
)


def _embedded_secret_key() -> str:
    """Return this installation's own key, made on first use."""
    path = TDS_DATA_DIR / "secret_key"
    try:
        TDS_DATA_DIR.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        env.refuse(f"TDS_DATA_DIR={TDS_DATA_DIR} cannot be written ({error})")
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key := secrets.token_urlsafe(50))
    return key


# --- core ---------------------------------------------------------------------------------------------------
DEBUG = env.boolean("DEBUG", False)
SECRET_KEY = env.secret("SECRET_KEY", _embedded_secret_key() if EMBEDDED else None)
if len(SECRET_KEY) < 12:  # `manage.py check --deploy` asks for 50
    env.refuse(
        "SECRET_KEY is too short to be a secret; make one with: "
        "python -c 'import secrets; print(secrets.token_urlsafe(50))'"
    )
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
if "*" in ALLOWED_HOSTS and not DEBUG:
    env.refuse("ALLOWED_HOSTS=* accepts forged hosts; name the hosts of this installation")
CSRF_TRUSTED_ORIGINS = env.origins("CSRF_TRUSTED_ORIGINS")
# Off only if browsers speak plain HTTP to this host itself, as with the embedded default.
TDS_HTTPS = env.boolean("TDS_HTTPS", not (DEBUG or EMBEDDED))

INSTALLED_APPS = [
    "tds_new.apps.OperationAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "tds_new",
]
if (BASE_DIR / "lab").is_dir():  # a checkout: benchmarks, fault injection, fuzzing
    INSTALLED_APPS.append("lab")

MIDDLEWARE = [
    # These add headers, to whatever answers further in.
    "tds_new.web.headers.HeadersMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "tds_new.web.health.HealthMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "tds_new.web.malformed.MalformedRequestMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "tds_new.web.login.refusals.LoginRefusalMiddleware",
]

ROOT_URLCONF = "prj_tds_new.urls"
WSGI_APPLICATION = "prj_tds_new.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "tds_new.web.context.frame",
            ],
        },
    },
]

# --- database -----------------------------------------------------------------------------------------------
# With it one process does everything: the ASGI application starts the consumer too. There each request has a
# thread of its own, which would leave a connection behind; so no connection outlives its request.
TDS_EMBED_CONSUMER = env.boolean("TDS_EMBED_CONSUMER", False)
_CONNECTION_S = 0 if TDS_EMBED_CONSUMER else 60
DATABASES = {
    "default": {**env.database(DATABASE_URL), "CONN_MAX_AGE": _CONNECTION_S, "CONN_HEALTH_CHECKS": True}
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# auto: TimescaleDB if the server has it loaded; on: refuse to install without it; off: plain PostgreSQL.
TDS_TIMESCALEDB = env.choice("TDS_TIMESCALEDB", "auto", ("auto", "on", "off"))

# --- people -------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "tds_new.User"
# The only way to check a password; its limits are in tds_new.web.login.limits.
AUTHENTICATION_BACKENDS = ["tds_new.web.login.backend.LimitedBackend"]
PASSWORD_HASHERS = [
    "tds_new.web.login.hashing.Argon2InTurn",
    "tds_new.web.login.hashing.PBKDF2InTurn",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"

# --- browser ------------------------------------------------------------------------------------------------
# How often an open dashboard asks for news, and how long a session lasts: no request extends it.
TDS_POLL_SECONDS = env.integer("TDS_POLL_SECONDS", 30, 1, 3600)
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = TDS_HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_NAME = "__Host-sessao" if TDS_HTTPS else "sessao"
CSRF_COOKIE_NAME = "__Host-csrf" if TDS_HTTPS else "csrf"
SECURE_SSL_REDIRECT = TDS_HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 31_536_000 if TDS_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = TDS_HTTPS
TDS_BEHIND_PROXY = env.boolean("TDS_BEHIND_PROXY", False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TDS_BEHIND_PROXY else None
# Addresses that may read /metrics; for all others the page does not exist.
TDS_WEB_METRICS_ALLOW = env.networks("TDS_WEB_METRICS_ALLOW")
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF],
        "connect-src": [SELF],
        "font-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "tds_new.web.static_files.HashedStaticFilesStorage"
    },
}

# --- language and time --------------------------------------------------------------------------------------
LANGUAGE_CODE = "pt-br"
LANGUAGES = [("pt-br", "Português"), ("en", "English")]
LOCALE_PATHS = [BASE_DIR / "tds_new" / "locale"]
USE_I18N = USE_TZ = True
TIME_ZONE = TDS_TIME_ZONE = env.time_zone("TDS_TIME_ZONE", "America/Sao_Paulo")

# --- MQTT ---------------------------------------------------------------------------------------------------
MQTT_BROKER_HOST = env.text(
    "MQTT_BROKER_HOST", _embedded.mqtt_host if _embedded and _embedded.mqtt_host else "localhost"
)
_own_broker = bool(_embedded and _embedded.mqtt_host and "MQTT_BROKER_HOST" not in os.environ)
MQTT_BROKER_PORT = env.integer(
    "MQTT_BROKER_PORT", _embedded.mqtt_port if _embedded and _own_broker else 1883, 1, 65535
)
MQTT_BROKER_PORT_TLS = env.integer("MQTT_BROKER_PORT_TLS", 8883, 1, 65535)
MQTT_BROKER_USER = env.either(
    "MQTT_BROKER_USER", "MQTT_BACKEND_USERNAME", _embedded.mqtt_user if _embedded and _own_broker else ""
)
MQTT_BROKER_PASSWORD = env.either(
    "MQTT_BROKER_PASSWORD",
    "MQTT_BACKEND_PASSWORD",
    _embedded.mqtt_password if _embedded and _own_broker else "",
)
MQTT_CLIENT_ID = env.text("MQTT_CLIENT_ID", "django_tds_new_consumer")
MQTT_TOPIC_PREFIX = env.topic_prefix("MQTT_TOPIC_PREFIX", "tds_new/devices")
MQTT_KEEPALIVE = env.integer("MQTT_KEEPALIVE", 60, 5, 3600)
MQTT_PROTOCOL = env.choice("MQTT_PROTOCOL", "3.1.1", ("3.1.1", "5"))
MQTT_USE_TLS = env.boolean("MQTT_USE_TLS", False)
MQTT_CA_CERTS = env.existing_file("MQTT_CA_CERTS")
MQTT_CERTFILE = env.existing_file("MQTT_CERTFILE")
MQTT_KEYFILE = env.existing_file("MQTT_KEYFILE")
# A secret: whoever subscribes to the group's name is dealt a part of its messages.
MQTT_SHARE_GROUP = env.secret("MQTT_SHARE_GROUP", "")
if any(c in MQTT_SHARE_GROUP for c in "/+#"):
    env.refuse(f"MQTT_SHARE_GROUP={MQTT_SHARE_GROUP} must not hold / + or #")
# Whether the shipped broker listens for MQTT over WebSockets too, on 9001.
TDS_MQTT_WEBSOCKETS = env.boolean("TDS_MQTT_WEBSOCKETS", False)

# --- ingestion ----------------------------------------------------------------------------------------------
# The consumer starts the worker that computes consumption; off if `process_consumption` is a service of its
# own.
TDS_PROCESS_CONSUMPTION = env.boolean("TDS_PROCESS_CONSUMPTION", True)
# That worker does the maintenance of the database too (refresh, compression, retention); off if cron runs
# `run_maintenance`.
TDS_UPKEEP = env.boolean("TDS_UPKEEP", True)
# Days after which data is compressed (TimescaleDB), and raw readings are dropped; 0: never. Consumption is
# kept for ever.
TDS_COMPRESS_AFTER_DAYS = env.integer("TDS_COMPRESS_AFTER_DAYS", 45, 0, 36_500)
TDS_RAW_RETENTION_DAYS = env.integer("TDS_RAW_RETENTION_DAYS", 0, 0, 36_500)
# A settled block that is older is final: it may be billed.
TDS_MAX_LATENESS_DAYS = env.integer("TDS_MAX_LATENESS_DAYS", 45, 1, 36_500)
TDS_BATCH_MESSAGES = env.integer("TDS_BATCH_MESSAGES", 2000, 1, 20_000)
TDS_BATCH_MAX_AGE_MS = env.integer("TDS_BATCH_MAX_AGE_MS", 10, 0, 5_000)
TDS_REGISTRY_MAX_AGE_S = env.integer("TDS_REGISTRY_MAX_AGE_S", 3, 0, 60)
TDS_HISTORY_DAYS = env.integer("TDS_HISTORY_DAYS", 730, 1, 36_500)
TDS_FUTURE_TOLERANCE_S = env.integer("TDS_FUTURE_TOLERANCE_S", 300, 0, 86_400)
TDS_REJECTED_KEEP = env.integer("TDS_REJECTED_KEEP", 1_000, 10, 1_000_000)
# What one gateway may use in each second, and a minute's worth (of readings five) after a silence; 0: no
# limit. Its readings that are stored bring an allowance of bytes, refusals and processor time; these are for
# what exceeds it.
TDS_GATEWAY_RATE = env.integer("TDS_GATEWAY_RATE", 1_000, 0, 1_000_000)  # messages
TDS_GATEWAY_READINGS = env.integer("TDS_GATEWAY_READINGS", 4_000, 0, 10_000_000)
TDS_GATEWAY_BYTES = env.integer("TDS_GATEWAY_BYTES", 512 * 1024, 0, 1_000_000_000)
TDS_GATEWAY_REFUSALS = env.integer("TDS_GATEWAY_REFUSALS", 500, 0, 1_000_000)
TDS_GATEWAY_CPU_MS = env.integer("TDS_GATEWAY_CPU_MS", 25, 0, 1_000)
TDS_METRICS_PORT = env.integer("TDS_METRICS_PORT", 0, 0, 65_535)
TDS_METRICS_ADDRESS = env.text("TDS_METRICS_ADDRESS", "127.0.0.1")
TDS_STORE_PAYLOAD_RAW = env.boolean("TDS_STORE_PAYLOAD_RAW", True)

# --- logs: ASCII lines on standard error, one every 10 seconds from the consumer ----------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "tds_new.logs.LineFormatter"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {"django.db.backends": {"level": "INFO"}},
}
