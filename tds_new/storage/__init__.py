"""Connects to the database, whether it is TimescaleDB or plain PostgreSQL.

Enters: Django's or psycopg's connections, and the settings of the database.
Leaves: sessions, answers about the kind of database, and the SQL of hypertables and sums.
May import: nothing.
"""
