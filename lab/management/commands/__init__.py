"""Runs the experiments, one command each.

Enters: options.
Leaves: a report on standard output, an exit code.
May import: lab.
"""
