"""Judges readings and counts consumption: the rules of docs/metering.md, without a database.

Enters: readings in chains, and everything that is known of a meter.
Leaves: segments, occurrences and blocks.
May import: metering.times.
"""
