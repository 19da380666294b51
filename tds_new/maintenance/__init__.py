"""Does the regular work on the database (docs/metering.md).

Enters: TimescaleDB's policies, and how long readings and logins are kept.
Leaves: refreshed sums, compressed or dropped chunks, a record of each run; no expired logins; a plain
database as TimescaleDB.
May import: metering, models, storage, backoff, logs.
"""
