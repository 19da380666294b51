"""The queue between the network thread and the batches."""

import pytest

from tds_new.ingestion import inbox
from tds_new.ingestion.inbox import Inbox
from tests.support.ingestion import message

pytestmark = pytest.mark.once


def test_a_flood_without_delivery_guarantee_is_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MAX_WAITING", 20)
    queue = Inbox()
    for _ in range(25):
        queue.put(message(qos=0))
    queue.put(message(qos=1))  # never dropped: the broker keeps them where nothing is read
    assert (len(queue), queue.dropped, queue.full) == (11, 15, False)
    monkeypatch.setattr(inbox, "MAX_WAITING_BYTES", 100)
    queue.put(message(b"x" * 50, qos=1))
    queue.take(11, 0, 0)
    queue.put(message(qos=0))
    assert (len(queue), queue.dropped) == (1, 16)


def test_it_is_full_by_count_or_by_size_until_half_of_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MAX_WAITING", 10)
    monkeypatch.setattr(inbox, "MAX_WAITING_BYTES", 100)
    small, large = message(b"x"), message(b"x" * 50)
    for sent, half in ((small, 5), (large, 1)):
        queue = Inbox()
        for _ in range(2 * half - 1):
            queue.put(sent)
        assert not queue.full
        queue.put(sent)
        assert queue.full
        for _ in range(half):
            assert queue.full
            queue.take(1, 0, 0)
        assert queue.full
        queue.take(1, 0, 0)
        assert not queue.full
        queue.put(sent)
        assert not queue.full


def test_a_batch_is_bounded_by_count_and_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Inbox()
    for _ in range(10):
        queue.put(message(b"x" * 100))
    assert len(queue.take(4, 0, 0)) == 4
    monkeypatch.setattr(inbox, "MAX_BATCH_BYTES", 250)
    assert [len(queue.take(9, 0, 0)) for _ in range(3)] == [3, 3, 0]
