"""Turns stored readings into consumption by device and 15-minute block.

Enters: readings, parameters, meter changes and decisions, from the database; the queue of stale ranges.
Leaves: blocks and occurrences, in the database; previews of what a decision would do.
May import: models, storage, backoff, logs, units.
"""
