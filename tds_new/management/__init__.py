"""Offers the platform on the command line.

Enters: errors of commands; Django looks for ``commands`` here.
Leaves: advice where the database cannot be reached.
May import: embedded, logs, metering, models.
"""
