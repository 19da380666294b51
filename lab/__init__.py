"""Tests the product under load, faults and hostile messages.

Enters: options of commands.
Leaves: reports and exit codes.
May import: tds_new, prj_tds_new. Nothing of them may import it, and production does not install it.
"""
