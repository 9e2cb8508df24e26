"""Frames of one camera that are under way together."""

from __future__ import annotations

import asyncio

from app.ingress.resequencer import Resequencer


async def test_a_frame_waits_for_the_earlier_one_of_its_camera():
    procession = Resequencer()
    first, second = procession.enter("gate", 1, 1), procession.enter("gate", 1, 2)
    waiting = asyncio.create_task(procession.turn(second, 10))
    await procession.turn(first, 0)
    await asyncio.sleep(0)
    assert not waiting.done()
    procession.leave(first)
    await asyncio.wait_for(waiting, 1)
    procession.leave(second)
    assert len(procession) == 0


async def test_it_waits_for_all_earlier_ones_in_whatever_order_they_came():
    procession = Resequencer()
    third, first, second = (procession.enter("gate", 1, number) for number in (3, 1, 2))
    waiting = asyncio.create_task(procession.turn(third, 10))
    procession.leave(second)
    await asyncio.sleep(0)
    assert not waiting.done()
    procession.leave(first)
    await asyncio.wait_for(waiting, 1)


async def test_an_earlier_epoch_goes_first():
    procession = Resequencer()
    older, newer = procession.enter("gate", 1, 99), procession.enter("gate", 2, 1)
    waiting = asyncio.create_task(procession.turn(newer, 10))
    await asyncio.sleep(0)
    assert not waiting.done()
    procession.leave(older)
    await asyncio.wait_for(waiting, 1)


async def test_it_waits_no_longer_than_it_may():
    procession = Resequencer()
    procession.enter("gate", 1, 1)
    second = procession.enter("gate", 1, 2)
    await asyncio.wait_for(procession.turn(second, 0.01), 5)
    await asyncio.wait_for(procession.turn(second, -1), 5)


async def test_other_cameras_and_frames_without_order_wait_for_nobody():
    procession = Resequencer()
    procession.enter("gate", 1, 1)
    for slot in (procession.enter("yard", 1, 2), procession.enter("gate", 0, 0)):
        await asyncio.wait_for(procession.turn(slot, 10), 1)


async def test_a_frame_without_order_holds_nobody_back():
    procession = Resequencer()
    procession.enter("gate", 0, 0)
    await asyncio.wait_for(procession.turn(procession.enter("gate", 1, 1), 10), 1)


async def test_a_repeat_does_not_wait_for_itself():
    procession = Resequencer()
    once, again = procession.enter("gate", 1, 1), procession.enter("gate", 1, 1)
    await asyncio.wait_for(asyncio.gather(procession.turn(once, 10), procession.turn(again, 10)), 1)
