"""Proof of the delivery promise: real messages, real faults by a seed, and invariants checked on the wire and in the database."""
