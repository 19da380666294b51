"""Times of the ledger: microseconds since 1970 (UTC), in Python and PostgreSQL.

A block lasts 15 minutes and begins at a whole quarter of an hour, UTC. Loops over readings calculate with
``BLOCK_US`` themselves: a function call for each reading would be expensive.
"""

from datetime import UTC, datetime, timedelta

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
BLOCK_US = 900_000_000
BEGINNING, END = -(2**62), 2**62  # before and after all readings
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_us() -> int:
    """Return the present, in microseconds since 1970."""
    return int(datetime.now(UTC).timestamp() * 1_000_000)


def block_start(time: int) -> int:
    """Return the start of the block that ``time`` lies in."""
    return time - time % BLOCK_US


def block_end(time: int) -> int:
    """Return the end of the block that ``time`` lies in: the start of the next one."""
    return time - time % BLOCK_US + BLOCK_US


def hour_start(time: int) -> int:
    """Return the start of the UTC hour that ``time`` lies in."""
    return time - time % HOUR_US


def hour_end(time: int) -> int:
    """Return the end of the UTC hour that ``time`` lies in: the start of the next one."""
    return time - time % HOUR_US + HOUR_US


def to_datetime(time: int) -> datetime:
    """Return a time in microseconds as an aware datetime in UTC."""
    return EPOCH + timedelta(microseconds=time)


def from_datetime(moment: datetime) -> int:
    """Return an aware datetime in microseconds since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def to_timestamptz(time: int) -> str:
    """Return a time in microseconds as PostgreSQL reads it.

    BEGINNING and what is before it, END and what is after it become infinities.
    """
    if time <= BEGINNING:
        return "-infinity"
    return "infinity" if time >= END else to_datetime(time).isoformat()


def us_of(timestamptz: str) -> str:
    """Return the SQL for a finite ``timestamptz`` (SQL) in microseconds since 1970."""
    return f"(extract(epoch FROM {timestamptz}) * 1000000)::bigint"
