"""Answers requests over HTTP.

Enters: HTTP requests.
Leaves: pages and JSON of one Conta for its members, the health of this process, the platform's metrics.
May import: models, queries, formats, units.

``access`` decides who gets at a Conta, ``views`` has a module for each screen, ``dashboard`` reads a
dashboard and puts it into words, ``filters`` understands its address, ``etag`` tells whether it changed.
``health`` and ``metrics`` answer machines.
"""
