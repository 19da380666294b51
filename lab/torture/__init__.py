"""Proves that no fault makes the platform lose or double a message.

Enters: a seed, from which messages and faults follow.
Leaves: a report of the invariants, checked on the wire and in the database.
May import: lab.harness, demo, embedded, ingestion. Mutants change the ingestion.
"""
