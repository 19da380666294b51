"""The queue between the network thread and the batches."""

import pytest

from tds_new.ingestion import inbox
from tds_new.ingestion.inbox import Inbox
from tds_new.ingestion.message import Message
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


def _of(gateway: str, number: int, size: int = 100) -> Message:
    return message(
        b"%04d" % number + b"x" * (size - 4), f"devices/{gateway}/{'telemetry' if number % 2 else 'status'}"
    )


def _numbers(batch: list[Message]) -> list[tuple[str, int]]:
    return [(one.topic.split("/")[1], int(one.payload[:4])) for one in batch]


def test_of_one_gateway_a_batch_has_its_share_and_others_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MAX_SHARE_BYTES", 300)
    queue = Inbox()
    for number in range(10):
        queue.put(_of("flood", number))
    for number in range(2):
        queue.put(_of("calm", number))
    assert _numbers(queue.take(100, 0, 0)) == [
        ("flood", 0), ("flood", 1), ("flood", 2), ("calm", 0), ("calm", 1),
    ]  # fmt: skip
    assert (len(queue), queue.oldest_age(queue._deferred["devices/flood"][0].received_at.timestamp())) == (
        7,
        0,
    )
    queue.put(_of("calm", 2))
    queue.put(_of("flood", 10))
    assert _numbers(queue.take(100, 0, 0)) == [("flood", 3), ("flood", 4), ("flood", 5), ("calm", 2)]
    assert [_numbers(queue.take(100, 0, 0)) for _ in range(3)] == [
        [("flood", 6), ("flood", 7), ("flood", 8)],
        [("flood", 9), ("flood", 10)],
        [],
    ]
    assert (len(queue), queue._deferred, queue._bytes_put) == (0, {}, queue._bytes_taken)


def test_several_floods_take_turns_and_a_batch_keeps_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MAX_SHARE_BYTES", 100)
    monkeypatch.setattr(inbox, "MAX_BATCH_BYTES", 400)
    queue = Inbox()
    for number in range(20):
        for gateway in range(6):
            queue.put(_of(f"gateway{gateway}", number))
    taken: list[tuple[str, int]] = []
    while batch := queue.take(100, 0, 0):
        assert len(batch) <= 4
        taken += _numbers(batch)
    for gateway in range(6):
        assert [number for name, number in taken if name == f"gateway{gateway}"] == list(range(20))
    first = {name for name, _ in taken[:12]}
    assert len(first) == 6
    assert len(queue) == 0


def test_what_is_deferred_counts_for_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MAX_SHARE_BYTES", 100)
    monkeypatch.setattr(inbox, "MAX_WAITING_BYTES", 1_000)
    queue = Inbox()
    for number in range(12):
        queue.put(_of("flood", number))
    assert queue.full
    for _ in range(7):
        assert len(queue.take(100, 0, 0)) == 1
        assert queue.full
    queue.take(100, 0, 0)
    assert not queue.full
