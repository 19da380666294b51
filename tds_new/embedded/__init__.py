"""Runs the servers of the demonstration as child processes on this machine.

Enters: a directory for each server's data, and the accounts of the broker.
Leaves: a running PostgreSQL and broker on the loopback address; their addresses in ``var/embedded.json``.
May import: broker, backoff.
"""
