"""The delays between two tries to connect."""

import pytest

from tds_new.ingestion.transport.connection import RECONNECT, STABLE_AFTER, ReconnectDelay

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("attempt", "longest"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (10_000, 60)]
)
def test_delays_double_to_a_minute_and_half_of_each_is_left_to_chance(attempt: int, longest: float) -> None:
    assert RECONNECT.delay_before(attempt, lambda: 0.0) == longest / 2
    assert RECONNECT.delay_before(attempt, lambda: 1.0) == longest
    assert longest / 2 <= RECONNECT.delay_before(attempt) <= longest


def test_restarts_of_a_broker_do_not_add_up_to_a_wait_of_a_minute_but_quick_losses_in_a_row_do() -> None:
    delay = ReconnectDelay()

    def lose(after: float) -> float:
        """Lose a connection that was made at the sixth try; return the longest next delay."""
        for _ in range(5):
            delay.next()
        delay.connection_lost(after)
        return delay.next(lambda: 1.0)

    assert [lose(after=5) for _ in range(3)] == [2, 4, 8]
    assert [lose(after=0) for _ in range(4)] == [
        16,
        32,
        60,
        60,
    ]  # as where two clients with one name push each other out
    assert lose(after=STABLE_AFTER + 1) == 1
