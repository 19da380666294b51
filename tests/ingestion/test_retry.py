"""The delays with which the consumer waits for the database."""

import pytest

from tds_new.ingestion.retry import RETRY

pytestmark = pytest.mark.once


@pytest.mark.parametrize(("attempt", "longest"), [(1, 0.2), (2, 0.4), (5, 3.2), (8, 15), (1000, 15)])
def test_tries_on_the_database_wait_up_to_twice_as_long_and_at_most_15_seconds(
    attempt: int, longest: float
) -> None:
    assert RETRY.delay_before(attempt, lambda: 1.0) == pytest.approx(longest)
    assert RETRY.delay_before(attempt, lambda: 0.0) == 0
