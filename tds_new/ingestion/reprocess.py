"""Rejected messages processed again, after their cause was removed."""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from django.db.models import QuerySet
from django.utils.timezone import now

from tds_new.ingestion.message import Message
from tds_new.ingestion.payload import MAX_PAYLOAD_BYTES, clean_text
from tds_new.ingestion.refusal import Reason, Refusal
from tds_new.ingestion.rejected import RejectedMessage, RejectedRow, kept_refusals
from tds_new.ingestion.telemetry_processor import open_processor
from tds_new.models import MensagemRejeitada

BATCH = 200  # rows

Refusals = dict[int | None, RejectedRow]  # of one message, by position in ``leituras``


class ReprocessResult(NamedTuple):
    """The numbers of rows that were accepted now, and refused again."""

    accepted: int
    refused: int


def reprocess(rejected: QuerySet[MensagemRejeitada]) -> ReprocessResult:
    """Process rejected messages again, oldest first, with the times of their arrival.

    A row whose message, or reading, is stored now (or was before) is marked as accepted; one that is refused
    again gets the new reason. Of a message that was too large, the readings in the 64 KiB that are kept are
    stored if they are not yet, and it stays refused. Rows accepted earlier are skipped. Raises psycopg.Error
    if the database fails; the batches done until then stay done.
    """
    accepted = refused = 0
    ids = iter(list(rejected.filter(reprocessada_em=None).order_by("id").values_list("id", flat=True)))
    with open_processor(record_rejected=False) as processor:
        for rows in _batches(ids):
            refusals: dict[int, Refusals] = {}
            for again in processor.process([_message(row) for row in rows]).rejected_rows:
                refusals.setdefault(again.message, {})[again.refusal.index] = again
            for number, row in enumerate(rows):
                if _mark(row, refusals.get(number, {})):
                    accepted += 1
                else:
                    refused += 1
            MensagemRejeitada.objects.bulk_update(
                rows, ["reprocessada_em", "motivo", "detalhe", "gateway", "conta"]
            )
    return ReprocessResult(accepted, refused)


def _message(row: MensagemRejeitada) -> Message:
    """Return the rejected message, marked as retained: then it is no sign of life.

    Of a message that was too large, the row has the beginning.
    """
    payload = bytes(row.payload)
    is_cut = row.motivo == Reason.MENSAGEM_GRANDE and len(payload) == MAX_PAYLOAD_BYTES
    return Message(
        topic=row.topico,
        payload=payload,
        received_at=row.recebida_em,
        retain=True,
        size=MAX_PAYLOAD_BYTES + 1 if is_cut else 0,
    )


def _mark(row: MensagemRejeitada, refusals: Refusals) -> bool:
    """Mark a row as accepted, or give it the new reason.

    ``refusals`` are those of its message now. If a message is accepted now but for some of its readings, each
    of these gets a row of its own. Returns whether the row was accepted.
    """
    refused = refusals.get(row.leitura_indice) or refusals.get(None)
    if refused is not None:
        if refused.refusal.reason == row.motivo == Reason.MENSAGEM_GRANDE:
            return False  # the detail counts the readings of the whole message
        row.motivo, row.detalhe = refused.refusal.reason.value, clean_text(refused.refusal.detail)
        row.gateway_id, row.conta_id = refused.gateway_id, refused.conta_id
        return False
    row.reprocessada_em = now()
    if row.leitura_indice is None:
        MensagemRejeitada.objects.bulk_create(_rows_of_readings(row, list(refusals.values())))
    return True


def _rows_of_readings(row: MensagemRejeitada, refused: list[RejectedRow]) -> list[MensagemRejeitada]:
    """Return rows for a message's refused readings.

    The message was rejected as a whole before. They are as many as the consumer would make.
    """
    if not refused:
        return []
    first = refused[0]
    refusals = [one.refusal for one in refused]
    source = RejectedMessage(
        first.message,
        first.received_at,
        first.topic,
        first.payload,
        refusals,
        first.gateway_id,
        first.conta_id,
    )
    return [_row_of_reading(row, source, refusal) for refusal in kept_refusals(source)]


def _row_of_reading(row: MensagemRejeitada, source: RejectedMessage, refusal: Refusal) -> MensagemRejeitada:
    """Return a row for one refused reading."""
    return MensagemRejeitada(
        recebida_em=row.recebida_em,
        topico=row.topico,
        payload=row.payload,
        motivo=refusal.reason.value,
        detalhe=clean_text(refusal.detail),
        leitura_indice=refusal.index,
        gateway_id=source.gateway_id,
        conta_id=source.conta_id,
    )


def _batches(ids: Iterator[int]) -> Iterator[list[MensagemRejeitada]]:
    """The rows of these ids, in batches."""
    while batch := list(islice(ids, BATCH)):
        yield list(MensagemRejeitada.objects.filter(id__in=batch).order_by("id"))
