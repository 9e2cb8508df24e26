"""The deadline-first batcher."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Sequence

import pytest

from app.errors import DeadlineExceeded, ImageError, ModelUnavailable, Overloaded, SightlineError
from app.ingress.batcher import DeadlineBatcher
from tests.support.waiting import until


class Model:
    """A stand-in for the detector: answers when released, remembers its items."""

    def __init__(self, open_gate: bool = True) -> None:
        self.batches: list[list[str]] = []
        self.gate = asyncio.Event()
        if open_gate:
            self.gate.set()

    async def run(self, items: Sequence[str]) -> Sequence[str | SightlineError]:
        self.batches.append(list(items))
        await self.gate.wait()
        return [item.upper() for item in items]


def soon(seconds: float = 30.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_an_idle_service_takes_a_lone_item_at_once():
    model = Model()
    batcher = DeadlineBatcher(model.run, max_batch=8, max_waiting=8)
    assert await batcher.submit("a", soon()) == "A"
    assert model.batches == [["a"]]


async def test_what_gathers_while_busy_goes_together_most_urgent_first():
    model = Model(open_gate=False)
    batcher = DeadlineBatcher(model.run, max_batch=8, max_waiting=8)
    first = asyncio.create_task(batcher.submit("first", soon()))
    await until(lambda: batcher.running == 1)
    later = [
        asyncio.create_task(batcher.submit(name, soon(seconds)))
        for name, seconds in (("calm", 60), ("urgent", 20), ("middling", 40))
    ]
    await until(lambda: batcher.waiting == 3)
    model.gate.set()
    assert await asyncio.gather(first, *later) == ["FIRST", "CALM", "URGENT", "MIDDLING"]
    assert model.batches == [["first"], ["urgent", "middling", "calm"]]


async def test_a_batch_is_never_larger_than_asked():
    model = Model(open_gate=False)
    batcher = DeadlineBatcher(model.run, max_batch=2, max_waiting=8)
    tasks = [asyncio.create_task(batcher.submit(str(number), soon())) for number in range(6)]
    await until(lambda: batcher.waiting == 4)
    model.gate.set()
    await asyncio.gather(*tasks)
    assert [len(batch) for batch in model.batches] == [2, 2, 2]


async def test_items_that_come_in_the_same_moment_go_together():
    model = Model()
    batcher = DeadlineBatcher(model.run, max_batch=8, max_waiting=8, slots=3)
    await asyncio.gather(*(batcher.submit(name, soon()) for name in "abc"))
    assert model.batches == [["a", "b", "c"]]


async def test_an_item_whose_deadline_passes_while_it_waits_never_reaches_the_model():
    model = Model(open_gate=False)
    batcher = DeadlineBatcher(model.run, max_batch=8, max_waiting=8)
    busy = asyncio.create_task(batcher.submit("busy", soon()))
    await until(lambda: batcher.running == 1)
    with pytest.raises(DeadlineExceeded):
        await batcher.submit("late", soon(0.02))
    assert batcher.waiting == 0
    model.gate.set()
    await busy
    assert model.batches == [["busy"]]


async def test_an_item_that_arrives_expired_is_refused_at_once():
    model = Model()
    batcher = DeadlineBatcher(model.run, max_batch=8, max_waiting=8)
    with pytest.raises(DeadlineExceeded):
        await batcher.submit("late", soon(-1))
    assert model.batches == []


async def test_more_than_may_wait_is_refused_at_once():
    model = Model(open_gate=False)
    batcher = DeadlineBatcher(model.run, max_batch=1, max_waiting=1)
    tasks = [asyncio.create_task(batcher.submit(name, soon())) for name in ("runs", "waits")]
    await until(lambda: batcher.waiting == 1)
    with pytest.raises(Overloaded):
        await batcher.submit("too many", soon())
    model.gate.set()
    await asyncio.gather(*tasks)


async def test_a_cancelled_item_gives_its_place_back_and_is_not_run():
    model = Model(open_gate=False)
    batcher = DeadlineBatcher(model.run, max_batch=8, max_waiting=1)
    busy = asyncio.create_task(batcher.submit("busy", soon()))
    await until(lambda: batcher.running == 1)
    waits = asyncio.create_task(batcher.submit("cancelled", soon()))
    await until(lambda: batcher.waiting == 1)
    waits.cancel()
    await asyncio.wait([waits])
    assert batcher.waiting == 0
    model.gate.set()
    await busy
    assert model.batches == [["busy"]]


async def test_a_batch_under_way_survives_the_cancellation_of_a_caller():
    model = Model(open_gate=False)
    batcher = DeadlineBatcher(model.run, max_batch=8, max_waiting=8)
    caller = asyncio.create_task(batcher.submit("a", soon()))
    await until(lambda: batcher.running == 1)
    caller.cancel()
    await asyncio.wait([caller])
    model.gate.set()
    await until(lambda: batcher.running == 0)
    assert await batcher.submit("b", soon()) == "B"


async def test_one_bad_item_is_raised_to_its_caller_only():
    async def run(items: Sequence[str]) -> Sequence[str | SightlineError]:
        return [ImageError("no image") if item == "bad" else item for item in items]

    batcher = DeadlineBatcher(run, max_batch=8, max_waiting=8, slots=0)
    tasks = [asyncio.create_task(batcher.submit(item, soon())) for item in ("good", "bad")]
    await until(lambda: batcher.waiting == 2)
    batcher.resize(1)
    good, bad = await asyncio.gather(*tasks, return_exceptions=True)
    assert good == "good"
    assert isinstance(bad, ImageError)


async def test_a_failing_call_is_raised_to_every_caller_and_frees_its_slot():
    calls = 0

    async def run(items: Sequence[str]) -> Sequence[str | SightlineError]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ConnectionError("gone")
        return list(items)

    batcher = DeadlineBatcher(run, max_batch=8, max_waiting=8)
    with pytest.raises(ConnectionError):
        await batcher.submit("a", soon())
    assert await batcher.submit("b", soon()) == "b"


async def test_more_slots_let_waiting_items_go():
    model = Model(open_gate=False)
    batcher = DeadlineBatcher(model.run, max_batch=1, max_waiting=8)
    tasks = [asyncio.create_task(batcher.submit(str(number), soon())) for number in range(3)]
    await until(lambda: batcher.waiting == 2)
    batcher.resize(3)
    await until(lambda: batcher.running == 3)
    model.gate.set()
    await asyncio.gather(*tasks)


async def test_closing_refuses_what_waits_and_sees_running_calls_through():
    model = Model(open_gate=False)
    batcher = DeadlineBatcher(model.run, max_batch=1, max_waiting=8)
    runs = asyncio.create_task(batcher.submit("runs", soon()))
    waits = asyncio.create_task(batcher.submit("waits", soon()))
    await until(lambda: batcher.waiting == 1)
    closing = asyncio.create_task(batcher.close(ModelUnavailable("closing")))
    with pytest.raises(ModelUnavailable):
        await waits
    model.gate.set()
    assert await runs == "RUNS"
    await closing


async def test_what_expires_while_all_slots_are_busy_does_not_pile_up():
    class Image:
        """An item that can be watched."""

    model = Model(open_gate=False)
    batcher: DeadlineBatcher[object, str] = DeadlineBatcher(model.run, max_batch=1, max_waiting=4)
    runs = asyncio.create_task(batcher.submit("runs", soon()))
    await until(lambda: batcher.running == 1)
    watched: list[weakref.ref[Image]] = []
    for _ in range(100):
        image = Image()
        watched.append(weakref.ref(image))
        with pytest.raises(DeadlineExceeded):
            await batcher.submit(image, soon(0.001))
        del image
    gc.collect()
    assert sum(one() is not None for one in watched) <= 10
    model.gate.set()
    assert await runs == "RUNS"


async def test_a_batch_runs_in_the_context_of_none_of_its_callers():
    # Serve keeps in it whose request a call belongs to, and cancels the call together with the request.
    asking: contextvars.ContextVar[str] = contextvars.ContextVar("asking", default="nobody")
    seen: list[str] = []

    async def run(items: Sequence[str]) -> Sequence[str]:
        seen.append(asking.get())
        return items

    async def ask(item: str) -> str:
        asking.set(item)
        return await batcher.submit(item, soon())

    batcher = DeadlineBatcher(run, max_batch=1, max_waiting=8)
    assert await asyncio.gather(*(ask(item) for item in "abc")) == ["a", "b", "c"]
    assert seen == ["nobody"] * 3


async def test_items_are_gathered_for_as_long_as_asked_though_a_slot_is_free():
    model = Model()
    batcher = DeadlineBatcher(model.run, max_batch=8, max_waiting=8, slots=2, gather_s=lambda: 0.05)
    first = asyncio.create_task(batcher.submit("a", soon()))
    await until(lambda: batcher.waiting == 1)
    assert await asyncio.gather(first, batcher.submit("b", soon())) == ["A", "B"]
    assert model.batches == [["a", "b"]]


async def test_a_full_batch_is_not_kept_waiting():
    model = Model()
    batcher = DeadlineBatcher(model.run, max_batch=2, max_waiting=8, gather_s=lambda: 3600)
    assert await asyncio.gather(batcher.submit("a", soon()), batcher.submit("b", soon())) == ["A", "B"]


async def test_an_item_that_is_gathered_expires_at_its_deadline():
    batcher = DeadlineBatcher(Model().run, max_batch=8, max_waiting=8, gather_s=lambda: 3600)
    with pytest.raises(DeadlineExceeded):
        await batcher.submit("late", soon(0.02))
    assert batcher.waiting == 0


async def test_each_item_expires_at_its_own_deadline_whatever_the_order_they_came_in():
    batcher = DeadlineBatcher(Model().run, max_batch=8, max_waiting=8, slots=0)
    expired: list[str] = []

    async def wait(name: str, seconds: float) -> None:
        with pytest.raises(DeadlineExceeded):
            await batcher.submit(name, soon(seconds))
        expired.append(name)

    await asyncio.gather(wait("c", 0.06), wait("a", 0.02), wait("b", 0.04))
    assert expired == ["a", "b", "c"]
    assert batcher.waiting == 0


async def test_an_answer_comes_to_whoever_entered_an_item():
    model = Model()
    batcher = DeadlineBatcher(model.run, max_batch=8, max_waiting=1)
    answer = batcher.enter("a")
    assert await answer == "A"
