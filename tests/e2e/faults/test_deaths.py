"""``kill -9`` of every kind of process, under load."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from tests.support.faults import (
    CAMERA,
    CAMERA_ACTOR,
    CONTROLLER,
    DETECTOR,
    INGRESS,
    PROXY,
    PUBLISHER,
    Ground,
    Network,
    ground,
)
from tests.support.load import Load
from tests.support.verdict import Verdict, judge
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(600)
Tell = Callable[[Verdict], Verdict]
HONEST = frozenset(
    {
        grpc.StatusCode.OK,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)
"""What a frame of good order may get while something is dead."""
FRAMES_AFTER = 40


def assert_honest(load: Load, allowed: frozenset[grpc.StatusCode] = HONEST) -> None:
    """See that every answer was one of the contract's, on one line."""
    strange = {
        (call.code, call.details) for call in load.calls if call.code not in allowed or "Traceback" in call.details
    }
    assert not strange


def carried_through_after(system: Ground, load: Load, moment: float) -> float:
    """Wait until a frame sent after a moment is on the topic; return the seconds from the moment to its answer."""

    def first() -> float | None:
        ids = system.follower.ids()
        answers = [call.answered for call in load.accepted if call.sent > moment and call.event_id in ids]
        return min(answers, default=None)

    took = wait_for(first, 120, "a frame carried through") - moment
    # What follows is part of the verdict as well: order and repeats show after a rebirth, not at it.
    settled = len(load.accepted)
    wait_for(lambda: len(load.accepted) >= settled + FRAMES_AFTER, 60, f"{FRAMES_AFTER} more accepted frames")
    return took


@pytest.mark.parametrize("unsent", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_publisher_killed_with_unsent_events_loses_none(system: Ground, tell: Tell, unsent: int):
    with system.load(f"publisher{unsent}", cameras=8, fps=10) as load:
        wait_for(lambda: len(load.accepted) >= 6, what="some accepted frames")
        system.network.way.cut()
        before = len(load.accepted)
        wait_for(lambda: len(load.accepted) - before >= unsent, 240, f"{unsent} unsent events")
        killed = system.kill(PUBLISHER)
        system.network.way.mend()
        recovery = carried_through_after(system, load, killed)
    assert_honest(load)
    verdict = tell(judge(f"publisher killed with {unsent} unsent", load.calls, system.follower, recovery))
    assert (verdict.lost, verdict.out_of_order) == (0, 0)
    assert recovery <= 60


@pytest.mark.parametrize(
    ("kind", "within_s"),
    [
        pytest.param(DETECTOR, 60, id="detector", marks=pytest.mark.slow),
        pytest.param(INGRESS, 60, id="ingress", marks=pytest.mark.slow),
        pytest.param(PROXY, 60, id="proxy", marks=pytest.mark.slow),
        pytest.param(CONTROLLER, 60, id="controller", marks=pytest.mark.slow),
    ],
)
def test_a_killed_process_costs_no_accepted_event_and_is_replaced(
    system: Ground, tell: Tell, kind: str, within_s: float
):
    before = set(system.system.processes(kind))
    with system.load(f"killed-{kind}") as load:
        wait_for(lambda: len(load.accepted) >= 6, what="some accepted frames")
        killed = system.kill(kind)
        recovery = carried_through_after(system, load, killed)
        wait_for(lambda: set(system.system.processes(kind)) - before, 60, f"a new {kind}")
    assert_honest(load)
    verdict = tell(judge(f"{kind} killed", load.calls, system.follower, recovery))
    assert (verdict.lost, verdict.out_of_order) == (0, 0)
    assert recovery <= within_s


@pytest.mark.slow
def test_a_killed_camera_actor_is_back_with_its_id_in_a_new_epoch(system: Ground, tell: Tell):
    def epochs() -> set[int]:
        return {seen.epoch for seen in system.follower.of([CAMERA])}

    wait_for(epochs, what="an event of the camera")
    before = max(epochs())
    with system.load("beside-a-camera") as load:
        killed = system.kill(CAMERA_ACTOR)
        reborn = wait_for(
            lambda: next((seen for seen in system.follower.of([CAMERA]) if seen.epoch > before), None),
            60,
            "its rebirth",
        )
    assert_honest(load)
    verdict = tell(judge("camera actor killed", load.calls, system.follower, reborn.at - killed))
    assert (verdict.lost, verdict.out_of_order) == (0, 0)
    assert reborn.at - killed <= 60


@pytest.mark.slow
def test_a_killed_haproxy_costs_no_accepted_event_and_is_replaced(tmp_path: Path, network: Network, tell: Tell):
    with ground(tmp_path, network, tuned=True) as system, system.load("haproxy") as load:
        wait_for(lambda: len(load.accepted) >= 6, what="some accepted frames")
        killed = time.monotonic()
        victims = system.system.programs("haproxy")
        assert victims, "no HAProxy runs"
        for victim in victims:
            os.kill(victim, 9)
        recovery = carried_through_after(system, load, killed)
        # A reborn HAProxy knows no application yet, and says so itself; a camera takes it for UNAVAILABLE.
        assert_honest(load, HONEST | {grpc.StatusCode.NOT_FOUND})
        verdict = tell(judge("HAProxy killed", load.calls, system.follower, recovery))
        assert (verdict.lost, verdict.out_of_order) == (0, 0)
        assert recovery <= 60


@pytest.mark.slow
def test_a_killed_detector_is_hardly_missed_where_a_second_one_runs(tmp_path: Path, network: Network, tell: Tell):
    with ground(tmp_path, network, detectors=2) as system, system.load("two") as load:
        wait_for(lambda: len(system.system.processes(DETECTOR)) >= 2, 120, "two detectors")
        one = system.system.processes(DETECTOR)[0]
        killed = time.monotonic()
        os.kill(one, 9)
        recovery = carried_through_after(system, load, killed)
        assert_honest(load)
        verdict = tell(judge("one of two detectors killed", load.calls, system.follower, recovery))
        assert (verdict.lost, verdict.out_of_order) == (0, 0)
        assert recovery <= 10
