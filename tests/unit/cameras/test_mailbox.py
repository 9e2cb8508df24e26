"""The one place between the capture thread and the event loop."""

from __future__ import annotations

import asyncio
import threading

from app.cameras.mailbox import Mailbox


async def test_a_mailbox_holds_the_newest_only():
    mailbox: Mailbox[int] = Mailbox()
    mailbox.bind(asyncio.get_running_loop())
    assert [mailbox.put(1), mailbox.put(2), mailbox.put(3)] == [None, 1, 2]
    assert await mailbox.take() == 3
    assert mailbox.put(4) is None
    mailbox.finish()
    assert mailbox.put(5) == 5
    assert [await mailbox.take(), await mailbox.take()] == [4, None]


async def test_a_mailbox_wakes_its_taker_from_another_thread():
    mailbox: Mailbox[int] = Mailbox()
    mailbox.bind(asyncio.get_running_loop())
    taker = asyncio.create_task(mailbox.take())
    await asyncio.sleep(0)
    threading.Thread(target=mailbox.put, args=(1,)).start()
    assert await asyncio.wait_for(taker, 5) == 1


async def test_a_mailbox_keeps_what_is_not_wanted_for_a_newer_one_to_displace():
    mailbox: Mailbox[int] = Mailbox()
    mailbox.bind(asyncio.get_running_loop())
    taker = asyncio.create_task(mailbox.take(lambda item: item > 1))
    assert mailbox.put(1) is None
    await asyncio.sleep(0)
    assert not taker.done()
    assert mailbox.put(2) == 1
    assert await asyncio.wait_for(taker, 5) == 2
    assert mailbox.put(0) is None
    mailbox.finish()
    assert await mailbox.take(lambda item: item > 1) == 0
