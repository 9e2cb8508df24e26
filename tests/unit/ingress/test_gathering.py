"""How long a busy ingress has frames wait for others."""

from __future__ import annotations

import pytest

from app.ingress.gathering import LONGEST_S, Gathering


class Processor:
    """A clock, and what a process has used of a core."""

    def __init__(self) -> None:
        self.now = self.used_s = 0.0

    def run(self, gathering: Gathering, share: float, seconds: float = 10.0) -> float:
        """Use a share of a core for so long; return how long frames are gathered then."""
        for _ in range(round(seconds / 0.25)):
            self.now += 0.25
            self.used_s += 0.25 * share
            gathered_s = gathering.seconds()
        return gathered_s


@pytest.fixture
def processor() -> Processor:
    return Processor()


@pytest.fixture
def gathering(processor: Processor) -> Gathering:
    made = Gathering(lambda: processor.now, lambda: processor.used_s)
    made.arrived(0.2)
    return made


def test_an_ingress_with_little_to_do_gathers_nothing(processor: Processor, gathering: Gathering):
    assert gathering.seconds() == 0
    assert processor.run(gathering, share=0.1) == 0


def test_the_busier_it_is_the_longer_it_gathers_up_to_a_tenth_of_the_budget(processor: Processor, gathering: Gathering):
    waits = [processor.run(gathering, share) for share in (0.2, 0.3, 0.4, 0.5, 0.9)]
    assert waits == sorted(waits)
    assert 0 < waits[0] < 0.2 * waits[-1]
    assert waits[-1] == pytest.approx(0.02)


def test_frames_without_a_budget_are_gathered_for_no_longer_than_those_with_one(
    processor: Processor, gathering: Gathering
):
    gathering.arrived(10.0)
    assert processor.run(gathering, share=1.0) == LONGEST_S


def test_a_short_peak_is_not_taken_for_a_busy_ingress(processor: Processor, gathering: Gathering):
    processor.run(gathering, share=0.05)
    assert processor.run(gathering, share=0.3, seconds=0.5) < 0.005


def test_it_ends_once_the_ingress_has_little_to_do(processor: Processor, gathering: Gathering):
    processor.run(gathering, share=1.0)
    assert processor.run(gathering, share=0.05, seconds=3.0) == 0
