"""Run the platform's parts and the operators' tasks.

Enters: the options of a command line.
Leaves: running processes, changed data, lines for people, and exit codes.
May import: broker, catalog, checks, demo, embedded, ingestion, logs, mac, maintenance, management.arguments,
management.listing, metering, models, queries, storage, web.login.
"""
