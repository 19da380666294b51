"""Provides what every experiment of the laboratory runs on and reports with.

Enters: options of a command. Leaves: running servers and processes, reports.
May import: ``tds_new`` (``embedded``, ``demo``, ``broker``); nothing else of ``lab``.
"""
