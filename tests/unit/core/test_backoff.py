"""Backoff: capped exponential delays with jitter."""

from __future__ import annotations

import random
import threading

from app.core.backoff import Backoff


class Highest(random.Random):
    """Draws the upper end of a range."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_delays_double_up_to_the_cap():
    backoff = Backoff(0.5, 4.0, Highest())
    assert [backoff.next() for _ in range(5)] == [0.5, 1.0, 2.0, 4.0, 4.0]


def test_a_delay_lies_in_the_upper_half_of_its_range():
    backoff = Backoff(1.0, 8.0, random.Random(7))
    for ceiling in (1.0, 2.0, 4.0, 8.0, *(8.0,) * 200):
        assert ceiling / 2 <= backoff.next() <= ceiling


def test_two_backoffs_do_not_keep_step():
    one, other = Backoff(1.0, 8.0), Backoff(1.0, 8.0)
    assert [one.next() for _ in range(8)] != [other.next() for _ in range(8)]


def test_a_reset_begins_anew_and_asks_for_no_wait():
    backoff = Backoff(0.5, 4.0, Highest())
    assert backoff.delay_s == 0.0
    backoff.next()
    assert (backoff.next(), backoff.delay_s, backoff.failures) == (1.0, 1.0, 2)
    backoff.reset()
    assert (backoff.delay_s, backoff.failures) == (0.0, 0)
    assert backoff.next() == 0.5


def test_a_peer_that_is_away_for_months_overflows_nothing():
    backoff = Backoff(0.5, 30.0, Highest())
    assert {backoff.next() for _ in range(5_000)} == {0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0}


def test_failures_that_threads_count_at_the_same_time_are_all_counted():
    backoff = Backoff(0.1, 1.0)
    threads = [threading.Thread(target=lambda: [backoff.next() for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert backoff.failures == 2_000
