"""Environment values, read once and checked at start.

Every setting comes from the process environment, then from ``environments/.env``. A secret may instead be
given as a file, ``NAME_FILE``. A value that is missing or makes no sense ends the program with one line that
says what to do.
"""

import os
import sys
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import NoReturn, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import environ

T = TypeVar("T")

TRUE = {"1", "true", "yes", "on", "sim"}
FALSE = {"0", "false", "no", "off", "nao", ""}


def refuse(reason: str) -> NoReturn:
    """End the program with one line on standard error and exit status 2."""
    print(f"[ERROR] configuration: {reason}", file=sys.stderr)
    raise SystemExit(2)


def load_dotenv(path: Path) -> None:
    """Read ``path`` if it exists; values already in the environment win."""
    if path.is_file():
        environ.Env.read_env(str(path), overwrite=False)


def text(name: str, default: str | None = None) -> str:
    """Return the value of ``name``; it must be there if there is no default."""
    value = os.environ.get(name)
    if value is not None and value.strip():
        return value.strip()
    if default is None:
        refuse(f"{name} is not set; set it in the environment or in environments/.env")
    return default


def secret(name: str, default: str | None = None) -> str:
    """Return a secret: the value of ``name``, or of the file that ``NAME_FILE`` names."""
    path = os.environ.get(f"{name}_FILE", "").strip()
    if path:
        if os.environ.get(name, "").strip():
            refuse(f"{name} and {name}_FILE are both set; keep one of them")
        try:
            value = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            refuse(f"{name}_FILE={path} cannot be read ({error})")
        if not value:
            refuse(f"{name}_FILE={path} is empty")
        return value
    return text(name, default)


def either(name: str, other: str, default: str) -> str:
    """Return the secret under one of two names; if both are set they must agree."""
    first, second = secret(name, ""), secret(other, "")
    if first and second and first != second:
        refuse(f"{name} and {other} are both set and differ; keep one of them")
    return first or second or default


def boolean(name: str, default: bool) -> bool:
    """Return whether ``name`` is on, in one of the usual spellings."""
    raw = text(name, "on" if default else "off").lower()
    if raw in TRUE:
        return True
    if raw in FALSE:
        return False
    refuse(f"{name}={raw} is neither on nor off")


def integer(name: str, default: int, low: int, high: int) -> int:
    """Return a whole number between ``low`` and ``high``, both included."""
    raw = text(name, str(default))
    try:
        value = int(raw)
    except ValueError:
        refuse(f"{name}={raw} is not a whole number")
    if not low <= value <= high:
        refuse(f"{name}={raw} is not between {low} and {high}")
    return value


def words(name: str, default: str = "") -> list[str]:
    """Return a comma-separated list without blanks."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def networks(name: str) -> list[IPv4Network | IPv6Network]:
    """Return addresses and networks, separated by commas.

    For example ``127.0.0.1`` or ``10.0.0.0/8``.
    """
    try:
        return [ip_network(word) for word in words(name)]
    except ValueError as error:
        refuse(f"{name}: {error}; use addresses and networks such as 127.0.0.1,10.0.0.0/8")


def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
    """Return one of ``allowed``."""
    value = text(name, default).lower()
    if value not in allowed:
        refuse(f"{name}={value} is not one of: {', '.join(allowed)}")
    return value


def time_zone(name: str, default: str) -> str:
    """Return the name of an IANA time zone."""
    value = text(name, default)
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        refuse(f"{name}={value} is not an IANA time zone (for example America/Sao_Paulo)")
    return value


def existing_file(name: str) -> str:
    """Return a path that exists; empty if none is given."""
    value = text(name, "")
    if value and not Path(value).is_file():
        refuse(f"{name}={value} does not exist")
    return value


def topic_prefix(name: str, default: str) -> str:
    """Return an MQTT topic prefix: no wildcard, no empty level, no ``$`` topic."""
    value = text(name, default).strip("/")
    if not value or any(c in value for c in "+#\0 ") or value.startswith("$") or "//" in value:
        refuse(f"{name}={value} is not a topic prefix: levels separated by /, without + # $ or blanks")
    return value


def origins(name: str) -> list[str]:
    """Return full origins such as ``https://tds.example.com``."""
    values = words(name)
    for value in values:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path:
            refuse(f"{name}: {value} is not an origin such as https://tds.example.com")
    return values


def database(url: str) -> dict[str, object]:
    """Return Django's database dictionary for a PostgreSQL address."""
    scheme = urlsplit(url).scheme
    if scheme not in ("postgres", "postgresql", "psql", "pgsql", "timescale", "timescaledb"):
        refuse(
            f"DATABASE_URL starts with {scheme or 'nothing'}://; use postgres://user:password@host:5432/name"
        )
    try:
        config = dict(environ.Env.db_url_config(url.replace(f"{scheme}:", "postgres:", 1)))
    except (ValueError, environ.ImproperlyConfigured) as error:
        refuse(f"DATABASE_URL cannot be read ({error}); use postgres://user:password@host:5432/name")
    if not config.get("NAME"):
        refuse("DATABASE_URL names no database; use postgres://user:password@host:5432/name")
    config["ENGINE"] = "django.db.backends.postgresql"
    return config
