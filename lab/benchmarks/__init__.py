"""Measures what the platform takes on a machine, beside what is required of it.

Enters: sizes of a measurement.
Leaves: one report of its parts, for people and for programs.
May import: lab.harness, tds_new, prj_tds_new.
"""
