"""Keeps the history of the schema, as installations have lived it.

Enters: a database at any earlier migration.
Leaves: the schema of today, whose present text is in ``tds_new/sql``.
May import: nothing. What was applied must not change with the code, so the SQL of that time is in ``_*.py``.
"""
