"""The history of the schema, as every installation has lived it.

Enters: a database at any earlier migration.
Leaves: the schema of today, whose present text is in ``tds_new/sql``.
May import: nothing of ours but the frozen modules beside (``_*.py``): what was applied must not change with the code.
"""
