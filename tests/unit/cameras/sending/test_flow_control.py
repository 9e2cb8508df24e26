"""When a camera may send, and which frame is still worth sending."""

from __future__ import annotations

import asyncio

import numpy as np

from app.cameras.frame import SampledFrame
from app.cameras.ledger import DropReason
from app.cameras.outcome import Outcome
from app.cameras.sending.budget import LatencyBudget
from app.cameras.sending.flow_control import FlowControl
from app.cameras.sending.in_flight import InFlightWindow
from app.cameras.sending.pace import Pace
from app.cameras.sources import Capture, RawFrame
from app.core.backoff import Backoff
from app.core.clock import Clock
from app.rpc.sightline.inference.v1 import inference_pb2 as pb

BUDGET_S = 0.2
AWAY = Outcome.dropped(DropReason.UNAVAILABLE, "connection refused")
FULL = Outcome.dropped(DropReason.OVERLOADED, "the queue is full")
ACCEPTED = Outcome.accepted(pb.DetectResponse())


class Setup:
    """A flow control at 10 frames per second, on a clock that is moved by hand."""

    def __init__(self, resend: Backoff | None = None) -> None:
        self.now = 1000.0
        self.stopping = asyncio.Event()
        self.clock = Clock(wall_ns=lambda: int(self.now * 1e9), monotonic=lambda: self.now)
        self.flow = FlowControl(
            window=InFlightWindow(10),
            pace=Pace(10, BUDGET_S),
            resend=resend or Backoff(60.0, 60.0),
            budget=LatencyBudget(BUDGET_S, self.clock.monotonic),
            stopping=self.stopping,
            clock=self.clock,
        )

    def frame(self, age_s: float = 0.0) -> SampledFrame:
        self.now -= age_s
        captured = Capture.now(self.clock)
        self.now += age_s
        return SampledFrame("gate", "1-1", RawFrame(lambda: np.zeros((4, 4, 3), np.uint8), captured), 1, 1)

    def answer(self, outcome: Outcome, round_trip_s: float) -> None:
        self.now += round_trip_s
        self.flow.record_answer(outcome, self.now - round_trip_s, self.now)


def test_the_budget_of_a_frame_runs_from_its_capture_and_can_be_changed():
    setup = Setup()
    frame = setup.frame(age_s=0.05)
    assert round(setup.flow.remaining_s(frame.captured), 3) == 0.15
    setup.flow.set_budget(1.0)
    assert round(setup.flow.remaining_s(frame.captured), 3) == 0.95


def test_a_frame_is_worth_sending_that_the_last_round_trip_would_bring_in_time():
    setup = Setup()
    setup.answer(ACCEPTED, 0.08)
    assert setup.flow.is_worth_sending(setup.frame(age_s=0.09))
    assert not setup.flow.is_worth_sending(setup.frame(age_s=0.11))


def test_a_fresh_frame_is_worth_sending_however_long_answers_take():
    setup = Setup()
    setup.answer(ACCEPTED, 3.0)
    assert setup.flow.is_worth_sending(setup.frame(age_s=0.04))
    assert not setup.flow.is_worth_sending(setup.frame(age_s=0.06))


def test_an_expired_frame_is_taken_to_be_counted():
    setup = Setup()
    setup.answer(ACCEPTED, 0.19)
    assert setup.flow.is_worth_sending(setup.frame(age_s=0.21))


async def test_nothing_delays_a_camera_whose_frames_are_accepted():
    setup = Setup()
    setup.flow.start()
    setup.answer(ACCEPTED, 0.02)
    setup.flow.back_off(ACCEPTED)
    await asyncio.wait_for(setup.flow.wait(), 5)
    assert not setup.flow.held_back(setup.frame())


async def test_an_absent_service_delays_the_next_frame_until_the_camera_stops():
    setup = Setup()
    setup.flow.back_off(AWAY)
    waiting = asyncio.create_task(setup.flow.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    setup.stopping.set()
    await asyncio.wait_for(waiting, 5)
    assert setup.flow.stopping


async def test_an_answer_ends_the_delay_of_an_absent_service():
    backoff = Backoff(60.0, 60.0)
    setup = Setup(backoff)
    setup.flow.back_off(AWAY)
    setup.now += 60.0
    setup.flow.back_off(ACCEPTED)
    assert backoff.failures == 0
    await asyncio.wait_for(setup.flow.wait(), 5)


async def test_a_frame_that_waits_for_an_overloaded_service_is_held_back():
    setup = Setup()
    setup.flow.start()
    setup.answer(FULL, 0.01)
    frame = setup.frame()
    assert not setup.flow.held_back(frame)
    await asyncio.wait_for(setup.flow.wait(), 5)  # at most 1 / rate: real time, while the clock stands still
    assert setup.flow.held_back(frame)


def test_frames_in_flight_grow_with_the_delay_of_the_service():
    setup = Setup()
    assert setup.flow.max_in_flight == 1
    setup.answer(ACCEPTED, 0.2)
    assert setup.flow.max_in_flight == 3
    assert setup.flow.round_trip_ms is not None
    assert round(setup.flow.round_trip_ms) == 200
