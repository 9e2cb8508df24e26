"""What runs is brought to what is wanted, and nothing else is touched."""

from __future__ import annotations

import asyncio

from app.fleet import Reconciler
from tests.support.fleet import Runner, camera


def roster(runner: Runner) -> Reconciler:
    made = Reconciler(runner.start)
    made.start()
    return made


async def test_only_what_differs_is_touched():
    runner = Runner()
    cameras = roster(runner)
    cameras.set_desired([camera("a", fps=1), camera("b", fps=2), camera("c", fps=3)])
    for name in "abc":
        await cameras.settled(name)
    assert sorted(runner.take()) == ["start a 1", "start b 2", "start c 3"]
    kept = cameras.running["a"]
    cameras.set_desired([camera("a", fps=1), camera("b", fps=9), camera("d", fps=4)])
    for name in "abcd":
        await cameras.settled(name)
    assert sorted(runner.take()) == ["settled b", "settled c", "start b 9", "start d 4", "stop b", "stop c"]
    assert cameras.running["a"] is kept
    assert set(cameras.running) == {"a", "b", "d"}


async def test_a_successor_starts_once_its_predecessor_has_settled_and_nobody_else_waits_for_that():
    runner = Runner()
    cameras = roster(runner)
    cameras.set_desired([camera("a", fps=1)])
    await cameras.settled("a")
    settled = asyncio.Event()
    runner.settling = lambda: settled
    cameras.set_desired([camera("a", fps=2), camera("b", fps=3)])
    await cameras.settled("b")
    assert runner.take() == ["start a 1", "stop a", "start b 3"]
    settled.set()
    await cameras.settled("a")
    assert runner.take() == ["settled a", "start a 2"]


async def test_what_is_wanted_meanwhile_is_what_comes_of_it():
    runner = Runner()
    cameras = roster(runner)
    cameras.set_desired([camera("a", fps=1)])
    await cameras.settled("a")
    settled = asyncio.Event()
    runner.settling = lambda: settled
    for fps in (2, 3, 4):
        cameras.set_desired([camera("a", fps=fps)])
        await asyncio.sleep(0)
    settled.set()
    await cameras.settled("a")
    assert runner.take() == ["start a 1", "stop a", "settled a", "start a 4"]


async def test_before_it_has_begun_nothing_runs():
    runner = Runner()
    cameras = Reconciler(runner.start)
    cameras.set_desired([camera("a", fps=1)])
    await asyncio.sleep(0)
    assert runner.take() == []
    cameras.start()
    await cameras.settled("a")
    assert runner.take() == ["start a 1"]


async def test_closing_ends_every_camera_at_the_same_time():
    runner = Runner()
    cameras = roster(runner)
    cameras.set_desired([camera("a", fps=1), camera("b", fps=1)])
    await cameras.settled("a")
    await cameras.settled("b")
    runner.take()
    settled = asyncio.Event()
    runner.settling = lambda: settled
    closing = asyncio.ensure_future(cameras.close())
    while len(runner.done) < 2:
        await asyncio.sleep(0)
    assert sorted(runner.take()) == ["stop a", "stop b"]
    cameras.set_desired([camera("c", fps=1)])  # as a change of the cameras file would
    settled.set()
    await closing
    await cameras.settled("c")
    assert sorted(runner.take()) == ["settled a", "settled b"]
    assert not cameras.running


async def test_a_camera_that_cannot_be_stopped_properly_does_not_keep_its_successor_out():
    class Stubborn:
        settings = camera("a", fps=1)

        async def stop(self) -> None:
            raise RuntimeError("it does not want to")

    made: list[object] = [Stubborn()]
    runner = Runner()
    cameras = Reconciler(lambda settings: made.pop() if made else runner.start(settings))
    cameras.start()
    cameras.set_desired([camera("a", fps=1)])
    await cameras.settled("a")
    cameras.set_desired([camera("a", fps=2)])
    await cameras.settled("a")
    assert runner.take() == ["start a 2"]


async def test_after_two_hundred_cameras_came_and_went_nothing_is_left():
    cameras = roster(Runner())
    for number in range(200):
        cameras.set_desired([camera(f"c{number}", fps=1)])
        await cameras.settled(f"c{number}")
    cameras.set_desired([])
    await cameras.settled("c199")
    assert not cameras.running
    assert not cameras._converging


async def test_who_wants_to_know_is_told_of_a_camera_that_is_removed_and_not_of_one_that_changes_or_ends_with_all():
    runner, removed = Runner(), []
    cameras = Reconciler(runner.start, removed=removed.append)
    cameras.start()
    cameras.set_desired([camera("a", fps=1), camera("b", fps=1), camera("c", fps=1)])
    cameras.set_desired([camera("a", fps=2), camera("b", fps=1)])
    for name in "abc":
        await cameras.settled(name)
    assert removed == ["c"]
    await cameras.close()
    assert removed == ["c"]
