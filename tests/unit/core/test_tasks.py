"""Tasks are ended, whatever swallows a cancellation."""

from __future__ import annotations

import asyncio

from app.core.tasks import end


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again():
    swallowed = asyncio.Event()

    async def waits() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if swallowed.is_set():
                    raise
                swallowed.set()

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    await asyncio.wait_for(end([task]), 5)
    assert swallowed.is_set()
    assert task.cancelled()


async def test_tasks_that_have_ended_or_failed_are_left_as_they_are():
    async def fails() -> None:
        raise ValueError

    failed = asyncio.create_task(fails())
    await asyncio.wait({failed})
    await end([failed])
    assert isinstance(failed.exception(), ValueError)
