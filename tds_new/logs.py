"""Log lines: ASCII only and one line each, whatever a message or a topic holds."""

import logging
import time

LABELS = {"DEBUG": "DEBUG", "INFO": "OK", "WARNING": "WARN", "ERROR": "ERROR", "CRITICAL": "ERROR"}


def printable(value: str) -> str:
    """Return ``value`` with everything outside printable ASCII escaped.

    No terminal and no log parser can be broken by it.
    """
    return value.encode("unicode_escape").decode("ascii")


class LineFormatter(logging.Formatter):
    """Formats records as one ASCII line, followed by the traceback if there is one.

    For example ``2026-02-18 14:30:00Z [OK] tds_new.ingestion: text``. Line breaks and other characters are
    escaped.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s [%(label)s] %(name)s: %(message)s", "%Y-%m-%d %H:%M:%SZ")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one ASCII line, followed by its traceback if it has one."""
        record.label = LABELS.get(record.levelname, record.levelname)
        return super().format(record).encode("ascii", "backslashreplace").decode("ascii")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the first line, with control characters of the message escaped."""
        record.message = "".join(c if c >= " " else f"\\x{ord(c):02x}" for c in record.message)
        return super().formatMessage(record)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the time in UTC, as every stored time is."""
        return time.strftime(datefmt or self.default_time_format, time.gmtime(record.created))
