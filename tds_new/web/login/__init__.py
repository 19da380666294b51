"""Decides who may try a password, and when.

Enters: an e-mail address, a password, the address of the browser.
Leaves: a person, or a refusal that says how long to wait; counters of failed tries.
May import: models, web.client_ip.

``limits`` has the rules and counts, ``devices`` knows browsers again, ``hashing`` bounds the work of password
hashes, ``backend`` is the one way to check a password, ``refusals`` answers in words. ``doors`` has the pages
that ask for a password.
"""
