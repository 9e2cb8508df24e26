"""Kafka away: for a moment, for minutes, from the start, or answering into the void."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.faults import Ground, Network, ground
from tests.support.verdict import Verdict, judge
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(600)
Tell = Callable[[Verdict], Verdict]


def pause(seconds: float) -> None:
    """Let a fault last; it is the fault's length, not a wait for a condition."""
    time.sleep(seconds)


def back_on_the_topic(system: Ground, mended: float) -> float:
    """Wait for the first record after a moment; return the seconds it took."""
    return wait_for(lambda: system.follower.first_after(mended), 60, "a record after the mend").at - mended


@pytest.mark.parametrize(
    "seconds", [8, pytest.param(60, marks=pytest.mark.slow), pytest.param(180, marks=pytest.mark.slow)]
)
def test_a_broker_cut_off_costs_no_accepted_event_and_no_order(system: Ground, tell: Tell, seconds: int):
    with system.load(f"cut{seconds}") as load:
        wait_for(lambda: len(load.accepted) >= 6, what="some accepted frames")
        system.network.way.cut()
        cut_at = time.monotonic()
        pause(seconds)
        system.network.way.mend()
        mended = time.monotonic()
        recovery = back_on_the_topic(system, mended)
        wait_for(lambda: load.answered_ok_after(mended), what="a frame accepted after the mend")
    during = [call for call in load.accepted if cut_at < call.sent and call.answered < mended]
    assert during, "no frame was accepted while Kafka was away: the spool did nothing"
    assert all(call.accepted for call in load.calls), {call.details for call in load.calls if not call.accepted}
    verdict = tell(judge(f"broker cut off for {seconds} s", load.calls, system.follower, recovery))
    replayed = {seen.event_id for seen in system.follower.seen if seen.replayed}
    assert {call.event_id for call in during} & replayed, "events that waited out an outage say so"
    assert (verdict.lost, verdict.out_of_order) == (0, 0)
    assert recovery <= 10


@pytest.mark.slow
def test_acknowledgements_that_never_arrive_cost_no_accepted_event_and_no_order(system: Ground, tell: Tell):
    with system.load("void") as load:
        wait_for(lambda: len(load.accepted) >= 6, what="some accepted frames")
        system.network.way.swallow_answers()
        pause(40)
        system.network.way.mend()
        mended = time.monotonic()
        recovery = back_on_the_topic(system, mended)
        wait_for(lambda: load.answered_ok_after(mended), what="a frame accepted after the mend")
    verdict = tell(judge("acknowledgements dropped for 40 s", load.calls, system.follower, recovery))
    assert (verdict.lost, verdict.out_of_order) == (0, 0)
    assert recovery <= 10


@pytest.mark.slow
def test_a_broker_away_at_the_start_is_waited_for_while_frames_are_accepted(tmp_path: Path, tell: Tell):
    with Network() as network:
        network.way.cut()
        with ground(tmp_path, network, wait=False) as system, system.load("early") as load:
            wait_for(lambda: len(load.accepted) >= 20, 180, "frames accepted without a broker")
            assert not system.follower.seen
            network.way.mend()
            recovery = back_on_the_topic(system, time.monotonic())
            verdict = tell(judge("broker away at the start", load.accepted, system.follower, recovery))
    assert (verdict.lost, verdict.out_of_order) == (0, 0)
    assert recovery <= 10
