"""Signatures in the audit trail, which triggers write."""

from typing import Any

from django.db import connection, transaction

SIGN = "SELECT set_config('tds.usuario', %s, true), set_config('tds.motivo', %s, true)"


def sign(user: Any, reason: str = "") -> None:
    """Sign this transaction's changes in the audit trail with ``user`` and ``reason``.

    Raises TransactionManagementError outside a transaction, where the signature would be lost at once.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("sign within transaction.atomic()")
    with connection.cursor() as cursor:
        cursor.execute(SIGN, [user.get_username(), reason])
