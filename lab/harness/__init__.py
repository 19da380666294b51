"""Runs the platform's processes on servers of the laboratory's own.

Enters: the kind of database, settings that differ.
Leaves: running servers and processes, tables of a report.
May import: broker, demo, embedded.
"""
