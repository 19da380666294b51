"""Judges readings and counts consumption, by the rules of docs/metering.md.

Enters: readings in chains, and a meter's parameters, changes and decisions.
Leaves: segments, occurrences and blocks.
May import: metering.times, units.
"""
