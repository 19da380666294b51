"""Configure Django for this platform.

Enters: the environment, and ``environments/.env``.
Leaves: settings, addresses, and the WSGI and ASGI applications.
May import: tds_new.
"""
