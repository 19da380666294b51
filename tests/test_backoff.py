"""Delays before another try: doubling, bounded, and partly left to chance."""

import pytest

from tds_new.backoff import Backoff

pytestmark = pytest.mark.once

ATTEMPTS = [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (8, 60.0), (10_000, 60.0)]


@pytest.mark.parametrize(("attempt", "longest"), ATTEMPTS)
@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_delays_double_up_to_the_longest_and_a_share_is_left_to_chance(
    attempt: int, longest: float, jitter: float
) -> None:
    backoff = Backoff(1.0, 60.0, jitter)
    assert backoff.delay_before(attempt, lambda: 0.0) == pytest.approx(longest * (1 - jitter))
    assert backoff.delay_before(attempt, lambda: 1.0) == pytest.approx(longest)
    assert longest * (1 - jitter) <= backoff.delay_before(attempt) <= longest
