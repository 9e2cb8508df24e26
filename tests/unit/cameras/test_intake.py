"""Sampled frames are numbered and counted, and only the newest is left to be sent."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from app.cameras.accounts import Accounts, NullObserver
from app.cameras.frame import SampledFrame
from app.cameras.intake import FrameIntake
from app.cameras.ledger import CameraLedger, DropReason
from app.cameras.mailbox import Mailbox
from app.cameras.outcome import Outcome
from app.cameras.recent_drops import RecentDrops
from app.cameras.sending.budget import LatencyBudget
from app.cameras.sending.flow_control import FlowControl
from app.cameras.sending.in_flight import InFlightWindow
from app.cameras.sending.pace import Pace
from app.cameras.sources import Capture, RawFrame
from app.core.backoff import Backoff
from app.core.clock import Clock


class Camera:
    """A frame intake with what it needs, on a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.clock = Clock(wall_ns=lambda: int(self.now * 1e9), monotonic=lambda: self.now)
        self.mailbox: Mailbox[SampledFrame] = Mailbox()
        self.ledger = CameraLedger()
        self.accounts = Accounts(self.ledger, RecentDrops(self.clock.monotonic), NullObserver())
        self.flow = FlowControl(
            window=InFlightWindow(10),
            pace=Pace(10, 0.2),
            resend=Backoff(0.1, 1.0),
            budget=LatencyBudget(0.2, self.clock.monotonic),
            stopping=asyncio.Event(),
            clock=self.clock,
        )
        self.intake = FrameIntake("gate", 7, mailbox=self.mailbox, accounts=self.accounts, flow=self.flow)

    def put(self, index: int) -> None:
        image = np.zeros((4, 4, 3), np.uint8)
        self.intake.put(index, RawFrame.of(image, Capture.now(self.clock)))


@pytest.fixture
def camera() -> Camera:
    return Camera()


async def test_a_frame_has_the_epoch_the_index_of_the_source_and_a_rising_number(camera: Camera):
    camera.put(0)
    camera.put(5)
    frame = await camera.mailbox.take()
    assert frame is not None
    assert (frame.camera_id, frame.frame_id, frame.epoch, frame.sequence) == ("gate", "7-5", 7, 2)


def test_a_frame_that_a_newer_one_displaces_is_superseded(camera: Camera):
    camera.put(0)
    camera.put(5)
    counts = camera.ledger.snapshot()
    assert (counts.sampled, counts.in_flight, counts.dropped[DropReason.SUPERSEDED]) == (2, 1, 1)
    assert camera.accounts.dropped_lately().held_back == 0


async def test_a_frame_displaced_while_the_camera_holds_back_is_counted_so(camera: Camera):
    camera.flow.start()
    camera.flow.record_answer(Outcome.dropped(DropReason.OVERLOADED), camera.now - 0.01, camera.now)
    await asyncio.wait_for(camera.flow.wait(), 5)  # its pace holds the next frame back; the clock stands still
    camera.put(0)
    camera.put(5)
    assert camera.accounts.dropped_lately().held_back == 1


async def test_a_frame_after_the_end_is_counted_as_dropped_at_shutdown(camera: Camera):
    camera.put(0)
    camera.intake.finish()
    camera.put(5)
    assert camera.ledger.snapshot().dropped[DropReason.SHUTDOWN] == 1
    frame = await camera.mailbox.take()
    assert frame is not None
    assert frame.frame_id == "7-0"


def test_the_rate_is_that_of_the_sampled_frames(camera: Camera):
    for index in range(10):
        camera.put(index)
        camera.now += 0.2
    assert camera.intake.fps(camera.now) == pytest.approx(5, rel=0.05)
