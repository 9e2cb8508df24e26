"""The detector's slots are counted when the replicas change, and rarely otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from deployments import replica_counts
from deployments.replica_counts import SlotCounter


class Changes:
    """Changes that a test reports; it keeps how long was waited for one."""

    def __init__(self) -> None:
        self.works = True
        self.waited: list[float] = []
        self._waits: asyncio.Queue[asyncio.Future[bool]] = asyncio.Queue()

    async def wait(self, timeout_s: float) -> bool:
        self.waited.append(timeout_s)
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waits.put_nowait(answer)
        return await answer

    async def report(self, changed: bool) -> None:
        """End the wait that comes next: something has changed, or its time is over."""
        (await self._waits.get()).set_result(changed)

    async def awaited(self) -> None:
        """Return once the counter waits."""
        self._waits.put_nowait(await self._waits.get())


class Cluster:
    """How many slots there are, and how often that was asked."""

    def __init__(self) -> None:
        self.slots = 0
        self.counts = 0
        self.fault: Exception | None = None
        self.seen: list[int] = []
        self.reports = 0
        self.changes = Changes()

    def count(self, last: int) -> int:
        self.counts += 1
        if self.fault is not None:
            raise self.fault
        return self.slots

    def report(self) -> None:
        self.reports += 1


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    cluster = Cluster()
    counter = SlotCounter(cluster.count, cluster.seen.append, cluster.changes, cluster.report)

    async def follow() -> None:
        await counter.count()
        await counter.run()

    task = asyncio.create_task(follow())
    yield cluster
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_first_replica_is_found_without_a_push(cluster: Cluster):
    async with asyncio.timeout(30):
        while len(cluster.seen) < 2:
            await asyncio.sleep(0)
        cluster.slots = 2
        await cluster.changes.awaited()
    assert cluster.seen[-1] == 2
    assert set(cluster.seen[:-1]) == {0}


async def test_a_change_is_counted_at_once_and_time_alone_is_not(cluster: Cluster):
    cluster.slots = 1
    async with asyncio.timeout(30):
        await cluster.changes.awaited()
        before = cluster.counts
        for _ in range(3):
            await cluster.changes.report(False)
        await cluster.changes.awaited()
        assert cluster.counts == before
        cluster.slots = 3
        await cluster.changes.report(True)
        await cluster.changes.awaited()
    assert cluster.counts == before + 1
    assert cluster.seen[-1] == 3
    assert cluster.reports >= 5  # a gauge that is not set for a while is dropped
    assert max(cluster.changes.waited) <= replica_counts.PERIOD_S


async def test_a_count_that_fails_leaves_the_slots_as_they_are(cluster: Cluster):
    cluster.slots = 2
    async with asyncio.timeout(30):
        await cluster.changes.awaited()
        cluster.fault = ConnectionError("away")
        await cluster.changes.report(True)
        await cluster.changes.awaited()
        assert cluster.seen[-1] == 2
        cluster.fault, cluster.slots = None, 1
        await cluster.changes.report(True)
        await cluster.changes.awaited()
    assert cluster.seen[-1] == 1
