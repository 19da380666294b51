"""Set-aside messages given another try, once their cause is mended."""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from django.db.models import QuerySet
from django.utils.timezone import now

from tds_new.ingestion.message import Message
from tds_new.ingestion.payload import clean_text
from tds_new.ingestion.rejected import MAX_ROWS_PER_MESSAGE, RejectedRow
from tds_new.ingestion.telemetry_processor import open_processor
from tds_new.models import MensagemRejeitada

BATCH = 200


class ReprocessResult(NamedTuple):
    """How many set-aside rows were accepted now, and how many refused again."""

    accepted: int
    refused: int


def reprocess(rejected: QuerySet[MensagemRejeitada]) -> ReprocessResult:
    """Process the set-aside messages again, oldest first, by the clock of their arrival.

    A row whose message, or reading, is stored now (or was already) is marked; one that is refused again keeps
    the new reason. Messages that were accepted before are passed over. Raises psycopg.Error where the
    database fails; what was done stays done.
    """
    accepted = refused = 0
    ids = iter(list(rejected.filter(reprocessada_em=None).order_by("id").values_list("id", flat=True)))
    with open_processor(record_rejected=False) as processor:
        for rows in _batches(ids):
            messages = [
                Message(
                    topic=row.topico, payload=bytes(row.payload), received_at=row.recebida_em, retain=True
                )
                for row in rows
            ]
            refused_again: dict[int, dict[int | None, RejectedRow]] = {}
            for other in processor.process(messages).rejected_rows:
                refused_again.setdefault(other.message, {})[other.refusal.index] = other
            for number, row in enumerate(rows):
                again = refused_again.get(number, {})
                same = again.get(row.leitura_indice) or again.get(None)
                if same is None:
                    row.reprocessada_em = now()
                    accepted += 1
                else:
                    row.motivo, row.detalhe = same.refusal.reason.value, clean_text(same.refusal.detail)
                    row.gateway_id, row.conta_id = same.gateway_id, same.conta_id
                    refused += 1
                if row.leitura_indice is None and same is None:
                    # The message is in now, but for these of its readings: each gets a row of its own.
                    bad = islice(again.values(), MAX_ROWS_PER_MESSAGE)
                    MensagemRejeitada.objects.bulk_create(_row_of_reading(row, other) for other in bad)
            MensagemRejeitada.objects.bulk_update(
                rows, ["reprocessada_em", "motivo", "detalhe", "gateway", "conta"]
            )
    return ReprocessResult(accepted, refused)


def _row_of_reading(row: MensagemRejeitada, refused: RejectedRow) -> MensagemRejeitada:
    return MensagemRejeitada(
        recebida_em=row.recebida_em,
        topico=row.topico,
        payload=row.payload,
        motivo=refused.refusal.reason.value,
        detalhe=clean_text(refused.refusal.detail),
        leitura_indice=refused.refusal.index,
        gateway_id=refused.gateway_id,
        conta_id=refused.conta_id,
    )


def _batches(ids: Iterator[int]) -> Iterator[list[MensagemRejeitada]]:
    while batch := list(islice(ids, BATCH)):
        yield list(MensagemRejeitada.objects.filter(id__in=batch).order_by("id"))
