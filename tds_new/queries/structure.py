"""Whether the stored sums of a Conta are of the present structure of its devices."""

from django.db import connection

IS_PENDING = "SELECT EXISTS (SELECT FROM tds_new_consumo_conta_pendente WHERE conta_id = %s)"


def structure_is_pending(conta_id: int) -> bool:
    """Return whether a Conta's stored sums are of an earlier structure.

    Then the Conta is to be answered from its devices' sums, joined with the devices as they are now.
    Maintenance sums again within minutes.
    """
    with connection.cursor() as cursor:
        cursor.execute(IS_PENDING, [conta_id])
        return bool((cursor.fetchone() or (False,))[0])
