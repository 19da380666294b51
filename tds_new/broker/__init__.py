"""Writes the accounts and access rules that Mosquitto reads.

Enters: the gateways, as their MAC and ``device_id``.
Leaves: password file, access rules, restrictions and one secret for each user, in one directory.
May import: mac.
"""
