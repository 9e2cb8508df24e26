"""Blocked: how the service is for a camera, apart from how its source is."""

from __future__ import annotations

import time

import pytest

from app.cameras import CameraState
from app.cameras.camera import Camera, CameraTiming
from app.cameras.frame import EncodedFrame
from app.cameras.ledger import DropReason
from app.cameras.outcome import Outcome
from app.cameras.sending.service_watch import ServiceWatch
from app.cameras.status import ServiceTrouble
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from tests.support.cameras import ManualClock, ScriptedSource, Sources, camera_of, running
from tests.support.waiting import until

OK = Outcome.accepted(pb.DetectResponse())
AWAY = Outcome.dropped(DropReason.UNAVAILABLE, "no server")


class Scripted:
    """A service that answers every frame as the test last said."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome

    async def detect(self, frame: EncodedFrame, remaining_s: float) -> Outcome:
        return self.outcome


def blocked_after(outcome: Outcome, seconds: float) -> ServiceWatch:
    clock = ManualClock()
    watch = ServiceWatch(clock.clock(), 2.0)
    watch.record(outcome)
    clock.now += seconds
    watch.record(outcome)
    return watch


@pytest.mark.parametrize(
    ("outcome", "trouble"),
    [
        (Outcome.dropped(DropReason.DEADLINE), ServiceTrouble.SLOW),
        (Outcome.dropped(DropReason.OVERLOADED), ServiceTrouble.FULL),
        (AWAY, ServiceTrouble.AWAY),
        (Outcome.unconfirmed(), ServiceTrouble.AWAY),
        (Outcome.dropped(DropReason.REJECTED), ServiceTrouble.REFUSING),
        (Outcome.dropped(DropReason.OUT_OF_ORDER), ServiceTrouble.REFUSING),
    ],
)
def test_frames_that_fail_for_two_seconds_mean_a_block_and_its_kind(outcome: Outcome, trouble: ServiceTrouble):
    blocked = blocked_after(outcome, 2.0).blocked
    assert blocked is not None
    assert blocked.trouble is trouble
    assert blocked.since.timestamp() == 1000.0


def test_a_block_has_the_reason_of_the_service():
    assert str(blocked_after(AWAY, 2.0).blocked) == "the service is away (no server)"


def test_a_late_frame_now_and_then_is_no_block():
    assert blocked_after(Outcome.dropped(DropReason.DEADLINE), 1.9).blocked is None


@pytest.mark.parametrize("reason", [DropReason.ENCODE_ERROR, DropReason.SHUTDOWN])
def test_what_says_nothing_of_the_service_neither_begins_a_block_nor_ends_it(reason: DropReason):
    assert blocked_after(Outcome.dropped(reason), 60).blocked is None
    watch = blocked_after(AWAY, 2.0)
    watch.record(Outcome.dropped(reason))
    assert watch.blocked is not None


def test_an_accepted_frame_ends_a_block_and_the_patience_begins_anew():
    watch = blocked_after(AWAY, 2.0)
    watch.record(OK)
    assert watch.blocked is None
    watch.record(AWAY)
    assert watch.blocked is None


PATIENCE_S = 0.8
"""How long the camera bears with a silent source."""


def blocked_soon(service: Scripted, sources: Sources) -> Camera:
    timing = CameraTiming(stall_s=PATIENCE_S, resend_first_s=0.02, resend_max_s=0.05, blocked_s=0.2, settle_s=0.3)
    return camera_of(sources, service, timing=timing)


@pytest.mark.parametrize("reason", [DropReason.DEADLINE, DropReason.OVERLOADED, DropReason.UNAVAILABLE])
async def test_a_blocked_camera_s_source_stays_live_and_is_never_opened_again(reason: DropReason):
    service, sources = Scripted(Outcome.dropped(reason, "scripted")), Sources(ScriptedSource([100] * 10_000))
    camera = blocked_soon(service, sources)
    async with running(camera):
        await until(lambda: camera.status().blocked is not None)
        dropped, long_after = camera.status().ledger.dropped[reason], time.monotonic() + 2 * PATIENCE_S
        await until(lambda: time.monotonic() > long_after and camera.status().ledger.dropped[reason] > dropped + 2)
        status = camera.status()
        assert status.state is CameraState.LIVE
        assert (status.reconnects, sources.opened) == (0, 1)
        service.outcome = OK
        await until(lambda: camera.status().blocked is None)
        assert camera.status().ledger.accepted > 0
        assert camera.status().since == status.since
