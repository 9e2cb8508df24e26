"""Frames of one camera that are under way together."""

from __future__ import annotations

import asyncio

from app.ingress.resequencer import Resequencer


async def test_a_frame_waits_for_the_earlier_one_of_its_camera():
    resequencer = Resequencer()
    first, second = resequencer.enter("gate", 1, 1), resequencer.enter("gate", 1, 2)
    waiting = asyncio.create_task(resequencer.wait(second, 10))
    await resequencer.wait(first, 0)
    await asyncio.sleep(0)
    assert not waiting.done()
    resequencer.leave(first)
    await asyncio.wait_for(waiting, 1)
    resequencer.leave(second)
    assert len(resequencer) == 0


async def test_it_waits_for_all_earlier_ones_in_whatever_order_they_came():
    resequencer = Resequencer()
    third, first, second = (resequencer.enter("gate", 1, number) for number in (3, 1, 2))
    waiting = asyncio.create_task(resequencer.wait(third, 10))
    resequencer.leave(second)
    await asyncio.sleep(0)
    assert not waiting.done()
    resequencer.leave(first)
    await asyncio.wait_for(waiting, 1)


async def test_an_earlier_epoch_goes_first():
    resequencer = Resequencer()
    older, newer = resequencer.enter("gate", 1, 99), resequencer.enter("gate", 2, 1)
    waiting = asyncio.create_task(resequencer.wait(newer, 10))
    await asyncio.sleep(0)
    assert not waiting.done()
    resequencer.leave(older)
    await asyncio.wait_for(waiting, 1)


async def test_it_waits_no_longer_than_it_may():
    resequencer = Resequencer()
    resequencer.enter("gate", 1, 1)
    second = resequencer.enter("gate", 1, 2)
    await asyncio.wait_for(resequencer.wait(second, 0.01), 5)
    await asyncio.wait_for(resequencer.wait(second, -1), 5)


async def test_other_cameras_and_frames_without_order_wait_for_nobody():
    resequencer = Resequencer()
    resequencer.enter("gate", 1, 1)
    for slot in (resequencer.enter("yard", 1, 2), resequencer.enter("gate", 0, 0)):
        await asyncio.wait_for(resequencer.wait(slot, 10), 1)


async def test_a_frame_without_order_holds_nobody_back():
    resequencer = Resequencer()
    resequencer.enter("gate", 0, 0)
    await asyncio.wait_for(resequencer.wait(resequencer.enter("gate", 1, 1), 10), 1)


async def test_a_repeat_does_not_wait_for_itself():
    resequencer = Resequencer()
    once, again = resequencer.enter("gate", 1, 1), resequencer.enter("gate", 1, 1)
    await asyncio.wait_for(asyncio.gather(resequencer.wait(once, 10), resequencer.wait(again, 10)), 1)
