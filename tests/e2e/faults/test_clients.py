"""Clients that ask for the impossible, hang up, or ask for more than there is."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.rpc.sightline.inference.v1 import inference_pb2_grpc as pb_grpc
from tests.support.faults import DETECTOR, INGRESS, Ground, Network, ground
from tests.support.load import METADATA, picture
from tests.support.poison_model import write_poison
from tests.support.verdict import Verdict, judge
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(600)
Tell = Callable[[Verdict], Verdict]
CALLS = [100, pytest.param(1000, marks=pytest.mark.slow)]


async def in_parallel(
    target: str, calls: int, ask: Callable[[pb_grpc.InferenceServiceStub, int], object]
) -> list[object]:
    """Make calls, sixteen at a time; return what came of each."""
    gate = asyncio.Semaphore(16)
    async with grpc.aio.insecure_channel(target) as channel:
        stub = pb_grpc.InferenceServiceStub(channel)

        async def one(number: int) -> object:
            async with gate:
                return await ask(stub, number)  # type: ignore[misc]

        return await asyncio.gather(*(one(number) for number in range(calls)))


@pytest.mark.parametrize("calls", CALLS)
def test_frames_whose_budget_has_run_out_are_refused_as_such_and_nothing_is_lost_beside_them(
    system: Ground, tell: Tell, calls: int
):
    image = picture()

    async def ask(stub: pb_grpc.InferenceServiceStub, number: int) -> grpc.StatusCode:
        request = pb.DetectRequest(camera_id="late", frame_id=f"1-{number}", image=image, latency_budget_ms=1)
        try:
            await stub.Detect(request, metadata=METADATA, timeout=30)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    workers = system.system.processes(DETECTOR), system.system.processes(INGRESS)
    with system.load(f"beside-the-late{calls}") as load:
        codes = Counter(asyncio.run(in_parallel(system.target, calls, ask)))
        ended = time.monotonic()
        wait_for(lambda: load.answered_ok_after(ended), what="a frame accepted afterwards")
    # A millisecond is enough now and then: an idle service hands a frame to its model in less.
    assert codes[grpc.StatusCode.DEADLINE_EXCEEDED] >= 0.5 * calls, codes
    assert set(codes) <= {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.OK}, codes
    assert workers == (system.system.processes(DETECTOR), system.system.processes(INGRESS))
    verdict = tell(judge(f"{calls} frames past their deadline", load.calls, system.follower))
    assert (verdict.lost, verdict.out_of_order) == (0, 0)


@pytest.mark.parametrize("calls", CALLS)
def test_cancelled_calls_leave_nothing_behind_and_disturb_nobody(system: Ground, tell: Tell, calls: int):
    image = picture()

    async def ask(stub: pb_grpc.InferenceServiceStub, number: int) -> str:
        request = pb.DetectRequest(camera_id="fickle", frame_id=f"1-{number}", image=image)
        call = stub.Detect(request, metadata=METADATA, timeout=30)
        await asyncio.sleep((number % 20) * 0.002)  # hung up at any stage of the call
        call.cancel()
        try:
            await call
        except asyncio.CancelledError:
            return "cancelled"
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    workers = system.system.processes(DETECTOR), system.system.processes(INGRESS)
    with system.load(f"beside-the-fickle{calls}") as load:
        ends = Counter(asyncio.run(in_parallel(system.target, calls, ask)))
        ended = time.monotonic()
        wait_for(lambda: load.answered_ok_after(ended), what="a frame accepted afterwards")
    assert ends["cancelled"] >= 0.5 * calls, ends
    assert set(ends) <= {"cancelled", "CANCELLED", "OK"}, ends
    assert workers == (system.system.processes(DETECTOR), system.system.processes(INGRESS))
    assert all(call.accepted for call in load.calls), {call.details for call in load.calls if not call.accepted}
    verdict = tell(judge(f"{calls} calls cancelled", load.calls, system.follower))
    assert (verdict.lost, verdict.out_of_order) == (0, 0)


@pytest.mark.slow
def test_more_frames_than_the_detectors_can_take_are_refused_at_once_and_none_accepted_is_lost(
    system: Ground, tell: Tell
):
    with system.load("flood", cameras=96, fps=50, budget_ms=200) as load:
        wait_for(lambda: len(load.calls) >= 3000, 240, "3000 answers")
    codes = Counter(call.code for call in load.calls)
    allowed = {grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert set(codes) <= allowed, codes
    assert codes[grpc.StatusCode.OK] > 100, codes
    assert codes[grpc.StatusCode.OK] < codes.total(), "it was no overload"
    verdict = tell(judge("detectors slower than the load", load.calls, system.follower))
    assert (verdict.lost, verdict.out_of_order) == (0, 0)


@pytest.mark.slow
def test_an_event_that_kafka_refuses_for_good_is_set_aside_and_blocks_nobody(
    tmp_path: Path, network: Network, tell: Tell
):
    model = write_poison(tmp_path / "poison.pt")
    environment = {"DETECTOR_MODEL": str(model), "INFERENCE_FPS": "1"}
    # The system's own camera shows a street: its events carry labels so long that no broker takes them.
    with ground(tmp_path, network, environment=environment) as system:
        with system.load("clean") as load:
            quarantined = wait_for(lambda: system.accounts().quarantined, 120, "an event in quarantine")
            moment = time.monotonic()
            wait_for(lambda: load.answered_ok_after(moment), what="a frame accepted beside it")
        assert quarantined >= 1
        assert system.accounts().balanced
        verdict = tell(judge("events that Kafka refuses for good", load.calls, system.follower))
    assert (verdict.lost, verdict.out_of_order) == (0, 0)
