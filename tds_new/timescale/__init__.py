"""Moving a plain database over to TimescaleDB while it works (``enable_timescale``)."""
