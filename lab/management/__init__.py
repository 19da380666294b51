"""Offers the laboratory on the command line.

Enters: nothing; Django looks for ``commands`` here.
Leaves: the commands.
May import: nothing.
"""
