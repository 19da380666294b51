"""Proves that hostile messages are stored right or rejected with a reason.

Enters: a seed, from which messages follow.
Leaves: a report of what differs from an independent oracle.
May import: lab.harness, demo, ingestion, storage. It feeds the ingestion.
"""
