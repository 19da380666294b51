"""Judges readings and counts consumption, by the rules of docs/metering.md.

Enters: readings in chains, and everything that is known of a meter.
Leaves: segments, occurrences and blocks.
May import: metering.times.
"""
