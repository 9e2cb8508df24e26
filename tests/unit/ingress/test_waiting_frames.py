"""Frames that wait in the service: together, in their order, within their budget, and no more than may."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest

from app.detection.messages import DetectorAnswer, DetectorJob
from app.errors import DeadlineExceeded, DeliveryUnavailable, ModelUnavailable, Overloaded
from tests.support.detection_service import Detector, ServiceFixture
from tests.support.waiting import until


async def test_frames_that_wait_go_to_the_model_together():
    fixture = ServiceFixture(max_batch_size=8)
    fixture.detector.gate.clear()
    calls = [asyncio.create_task(fixture.detect())]
    await until(lambda: len(fixture.detector.batches) == 1)
    calls += [asyncio.create_task(fixture.detect()) for _ in range(3)]
    await until(lambda: fixture.service.load.frames_waiting == 3)
    fixture.detector.gate.set()
    await asyncio.gather(*calls)
    assert [len(batch) for batch in fixture.detector.batches] == [1, 3]


async def test_how_many_frames_wait_for_a_detector_is_reported_with_every_batch_and_when_asked():
    fixture = ServiceFixture(max_batch_size=2)
    fixture.detector.gate.clear()
    calls = [asyncio.create_task(fixture.detect()) for _ in range(5)]
    await until(lambda: len(fixture.detector.batches) == 1)
    fixture.service.report_waiting()
    assert fixture.observer.waits == [3, 3]
    fixture.detector.gate.set()
    await asyncio.gather(*calls)
    assert [len(batch) for batch in fixture.detector.batches] == [2, 2, 1]
    assert fixture.observer.waits == [3, 3, 1, 0]


async def test_more_frames_than_may_wait_are_refused_at_once():
    fixture = ServiceFixture(max_waiting=1)
    fixture.detector.gate.clear()
    taken = [asyncio.create_task(fixture.detect()) for _ in range(2)]
    await until(lambda: len(fixture.detector.batches) == 1)
    with pytest.raises(Overloaded):
        await fixture.detect()
    fixture.detector.gate.set()
    await asyncio.gather(*taken)


async def test_more_events_than_may_wait_for_the_publisher_are_unavailable_and_not_overload():
    fixture = ServiceFixture(max_waiting=2, publish_calls=1, publish_batch_size=1, slots=8, max_batch_size=1)
    fixture.publisher.gate.clear()
    callers = []
    for number in range(4):
        callers.append(asyncio.create_task(fixture.detect(frame_id=str(number))))
        await until(lambda: len(fixture.detector.batches) == len(callers))
        for _ in range(10):
            await asyncio.sleep(0)
    with pytest.raises(DeliveryUnavailable):
        await callers[3]
    fixture.publisher.gate.set()
    await asyncio.gather(*callers[:3])


async def test_an_event_that_waits_for_the_publisher_is_carried_through_when_its_caller_goes_away():
    fixture = ServiceFixture(publish_calls=1)
    fixture.publisher.gate.clear()
    callers = [asyncio.create_task(fixture.detect(frame_id=str(number))) for number in range(3)]
    await until(lambda: sum(len(batch) for batch in fixture.detector.batches) == 3)
    for _ in range(10):
        await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    fixture.publisher.gate.set()
    await fixture.service.close()
    assert sorted(one.event.frame_id for one in fixture.publisher.submissions) == ["0", "1", "2"]


async def test_a_frame_whose_budget_runs_out_while_it_waits_costs_the_model_nothing():
    fixture = ServiceFixture()
    fixture.detector.gate.clear()
    busy = asyncio.create_task(fixture.detect())
    await until(lambda: len(fixture.detector.batches) == 1)
    with pytest.raises(DeadlineExceeded):
        await fixture.detect(latency_budget_ms=20)
    fixture.detector.gate.set()
    await busy
    assert len(fixture.detector.batches) == 1


async def test_a_frame_that_could_not_be_in_time_any_more_does_not_take_the_models_time():
    fixture = ServiceFixture()
    fixture.publisher.gate.clear()
    calls = [asyncio.create_task(fixture.detect(latency_budget_ms=20_000)) for _ in range(20)]
    asyncio.get_running_loop().call_later(0.4, fixture.publisher.gate.set)
    await asyncio.gather(*calls)
    fixture.detector.gate.clear()
    first = asyncio.create_task(fixture.detect(latency_budget_ms=20_000))
    begun = len(fixture.detector.batches)
    await until(lambda: len(fixture.detector.batches) > begun)
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await fixture.detect(latency_budget_ms=1000)
    assert 0.45 < time.monotonic() - began < 0.8
    fixture.detector.gate.set()
    await first


class OutOfStep(Detector):
    """Each batch waits for its own sign, so that the second can be back before the first."""

    def __init__(self) -> None:
        super().__init__()
        self.signs = [asyncio.Event() for _ in range(4)]
        self.busy_s = 0.0

    async def detect(self, jobs: Sequence[DetectorJob]) -> DetectorAnswer:
        number = len(self.batches)
        answer = await super().detect(jobs)
        await self.signs[number].wait()
        return DetectorAnswer(answer.outcomes, answer.model, self.busy_s)


class ServiceOutOfStep(ServiceFixture):
    """Two detector replicas whose batches come back when the test says so."""

    detector: OutOfStep

    def __init__(self) -> None:
        super().__init__(slots=2, detector=OutOfStep(), max_batch_size=4)

    @property
    def published(self) -> list[int]:
        return [submission.sequence for submission in self.publisher.submissions]


async def test_frames_of_a_camera_are_committed_in_their_order_whichever_batch_is_back_first():
    fixture = ServiceOutOfStep()
    first = asyncio.create_task(fixture.detect(epoch=1, sequence=1))
    await until(lambda: len(fixture.detector.batches) == 1)
    second = asyncio.create_task(fixture.detect(epoch=1, sequence=2))
    other = asyncio.create_task(fixture.detect(camera_id="other", epoch=1, sequence=7))
    await until(lambda: len(fixture.detector.batches) == 2)
    for sign in fixture.detector.signs[1:]:
        sign.set()
    await other
    assert not second.done()
    fixture.detector.signs[0].set()
    await asyncio.gather(first, second)
    assert fixture.published == [7, 1, 2]


async def test_a_frame_behind_one_that_does_not_come_back_waits_no_longer_than_its_own_budget():
    fixture = ServiceOutOfStep()
    stuck = asyncio.create_task(fixture.detect(epoch=1, sequence=1))
    await until(lambda: len(fixture.detector.batches) == 1)
    fixture.detector.signs[1].set()
    await asyncio.wait_for(fixture.detect(epoch=1, sequence=2, latency_budget_ms=50), 10)
    assert fixture.published == [2]
    fixture.detector.signs[0].set()
    await stuck


async def test_a_slow_detector_gets_fewer_frames_at_a_time():
    fixture = ServiceOutOfStep()
    fixture.detector.busy_s = 10.0
    for sign in fixture.detector.signs:
        sign.set()
    await fixture.detect()
    fixture.service.resize(0)
    fixture.service.resize(1)
    fixture.detector.gate.clear()
    calls = [asyncio.create_task(fixture.detect(camera_id=f"cam-{number}")) for number in range(3)]
    await until(lambda: len(fixture.detector.batches) == 2)
    fixture.detector.gate.set()
    await asyncio.gather(*calls)
    assert [len(batch) for batch in fixture.detector.batches] == [1, 1, 1, 1]


async def test_frames_are_offered_whatever_becomes_of_them():
    fixture = ServiceFixture(slots=0)
    for sequence in (1, 4):
        with pytest.raises(ModelUnavailable):
            await fixture.detect(epoch=1, sequence=sequence)
    demand = fixture.service.demand
    assert demand.numbered_fps > 0
    assert demand.plain_fps == 0
    assert demand.cameras == 1


async def test_a_frame_that_expires_or_waits_too_long_is_late_and_one_that_is_taken_at_once_is_not():
    fixture = ServiceFixture()
    await fixture.detect()
    assert fixture.service.demand.late_share == 0
    fixture.detector.fault = DeadlineExceeded("the budget ran out before the model was free")
    with pytest.raises(DeadlineExceeded):
        await fixture.detect()
    assert fixture.service.demand.late_share == pytest.approx(0.5)
