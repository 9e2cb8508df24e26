"""DeadlineBatcher: many single calls in, few batched calls out, the most urgent first.

``@serve.batch`` collects a batch before anything is free to take it, so a batch grows old while it waits.
Here what waits stays single until a slot is free: an idle service takes a single item at once, a busy one
takes all that has gathered. Plain asyncio; to be used from one event loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.errors import DeadlineExceeded, Overloaded, SightlineError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(eq=False)
class _Waiting(Generic[T, R]):
    item: T
    deadline: float
    answer: asyncio.Future[R]
    taken: bool = False


class DeadlineBatcher(Generic[T, R]):
    """Calls ``run`` with up to ``max_batch`` waiting items whenever one of ``slots`` is free.

    A batch that was handed to ``run`` is completed, whoever stops waiting for it.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Awaitable[Sequence[R | SightlineError]]],
        *,
        max_batch: int,
        max_waiting: int,
        slots: int = 1,
        gather_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Set up a batcher.

        Args:
            run: returns one answer an item, in order; a ``SightlineError`` among them is raised to its caller,
                and an exception it raises is raised to every caller of the batch.
            max_batch: items in one call at most.
            max_waiting: items that wait at most; beyond, :class:`Overloaded`.
            slots: calls that may run at the same time.
            gather_s: returns the seconds for which items are gathered though a slot is free; 0: not at all.
        """
        if max_batch < 1 or max_waiting < 1 or slots < 0:
            raise ValueError("max_batch and max_waiting start at 1, slots at 0")
        self._run = run
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._slots = slots
        self._order = itertools.count()
        self._heap: list[tuple[float, int, _Waiting[T, R]]] = []
        self._waiting = 0
        self._running: set[asyncio.Task[None]] = set()
        self._dispatching = False
        self._gather_s = gather_s
        self._gathering_since: float | None = None
        """When the first item came of those that wait for others, by the event loop's clock."""
        self._gathered: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._expires_at = math.inf
        """When the one timer for all that wait goes off: at their earliest deadline, or earlier."""

    @property
    def waiting(self) -> int:
        """Items that no call has taken yet."""
        return self._waiting

    @property
    def running(self) -> int:
        """Calls under way."""
        return len(self._running)

    async def submit(self, item: T, deadline: float = math.inf) -> R:
        """Wait for the item's answer; see :meth:`enter`. An item whose caller is cancelled before is not handed over.

        Raises:
            DeadlineExceeded: no call took it in time; ``run`` never got it.
            Overloaded: too many wait already.
            SightlineError: the answer of ``run`` for it.
        """
        entry = self._enter(item, deadline)
        try:
            return await entry.answer
        except asyncio.CancelledError:
            if entry.answer.cancelled() and not entry.taken:
                self._forget()
            raise

    def enter(self, item: T) -> asyncio.Future[R]:
        """Return the future of an item's answer, which is not to be cancelled; the item waits as long as it takes.

        Raises:
            Overloaded: too many wait already.
        """
        return self._enter(item, math.inf).answer

    def _enter(self, item: T, deadline: float) -> _Waiting[T, R]:
        """Have an item wait.

        Args:
            item: what ``run`` gets.
            deadline: latest time, by the event loop's clock, at which a call may take it.

        Raises:
            DeadlineExceeded: no call took it in time; ``run`` never got it.
            Overloaded: too many wait already.
        """
        loop = asyncio.get_running_loop()
        if loop.time() >= deadline:
            raise DeadlineExceeded("the latency budget had run out on arrival")
        if self._waiting >= self._max_waiting:
            self._dispatch()  # what came in this very moment may have a slot
        if self._waiting >= self._max_waiting:
            raise Overloaded(f"{self._waiting} frames are waiting already")
        entry: _Waiting[T, R] = _Waiting(item, deadline, loop.create_future())
        if deadline < self._expires_at:
            self._expire_at(deadline)
        heapq.heappush(self._heap, (deadline, next(self._order), entry))
        self._waiting += 1
        if self._gathering_since is None:
            self._gathering_since = loop.time()
        self._dispatch_soon()
        return entry

    def resize(self, slots: int) -> None:
        """Change how many calls may run at the same time; 0 holds everything back."""
        self._slots = max(0, slots)
        self._dispatch_soon()

    def limit(self, max_batch: int) -> None:
        """Change how many items one call gets at most."""
        self._max_batch = max(1, max_batch)

    async def close(self, refusal: SightlineError) -> None:
        """Refuse what waits, and wait for the running calls."""
        for _, _, entry in self._heap:
            if not entry.answer.done():
                entry.answer.set_exception(refusal)
        self._heap.clear()
        self._waiting = 0
        for timer in (self._expiry, self._gathered):
            if timer is not None:
                timer.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _expire_at(self, deadline: float) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._expires_at = deadline
        self._expiry = asyncio.get_running_loop().call_at(deadline, self._expire)

    def _expire(self) -> None:
        """Refuse what has waited too long, and look again when the next item will have."""
        self._expiry, self._expires_at = None, math.inf
        now = asyncio.get_running_loop().time()
        while self._heap and (self._heap[0][0] <= now or self._heap[0][2].answer.done()):
            _, _, entry = heapq.heappop(self._heap)
            if not entry.answer.done():
                self._waiting -= 1
                entry.answer.set_exception(DeadlineExceeded("the budget ran out before the model was free"))
        if self._heap and self._heap[0][0] < math.inf:
            self._expire_at(self._heap[0][0])

    def _forget(self) -> None:
        """Count out an item whose caller went away while it still waited."""
        self._waiting -= 1
        if len(self._heap) > 2 * self._max_waiting:
            # The images of what nobody waits for must not pile up.
            self._heap = [kept for kept in self._heap if not kept[2].answer.done()]
            heapq.heapify(self._heap)

    def _dispatch_soon(self) -> None:
        """Dispatch after what else is ready in the loop: items that come together go together, and wait for nothing."""
        if not self._dispatching:
            self._dispatching = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._dispatching = False
        while len(self._running) < self._slots and self._waiting and not self._gathers() and (batch := self._take()):
            # In a context of its own. In that of one item's caller, who may be cancelled, Serve
            # would cancel what is called here along with the caller, and with it the other items of the batch.
            task = contextvars.Context().run(asyncio.get_running_loop().create_task, self._carry(batch))
            self._running.add(task)
            task.add_done_callback(self._finished)

    def _gathers(self) -> bool:
        """Return whether what waits is to wait for others; then it is looked at again when it has."""
        if self._waiting >= self._max_batch or self._gathering_since is None:
            return False
        loop = asyncio.get_running_loop()
        due = self._gathering_since + self._gather_s()
        if due <= loop.time():
            return False
        if self._gathered is None:
            self._gathered = loop.call_at(due, self._end_gathering)
        return True

    def _end_gathering(self) -> None:
        self._gathered = None
        self._dispatch_soon()

    def _take(self) -> list[_Waiting[T, R]]:
        batch: list[_Waiting[T, R]] = []
        while self._heap and len(batch) < self._max_batch:
            _, _, entry = heapq.heappop(self._heap)
            if entry.answer.done():
                continue
            entry.taken = True
            self._waiting -= 1
            batch.append(entry)
        self._gathering_since = asyncio.get_running_loop().time() if self._waiting else None
        return batch

    async def _carry(self, batch: list[_Waiting[T, R]]) -> None:
        answers: Sequence[R | BaseException]
        try:
            answers = await self._run([entry.item for entry in batch])
            if len(answers) != len(batch):
                raise RuntimeError(f"{len(batch)} items got {len(answers)} answers")
        except BaseException as error:  # noqa: BLE001 - every caller of the batch gets it, a cancellation included
            answers = [error] * len(batch)
        for entry, answer in zip(batch, answers, strict=True):
            _settle(entry.answer, answer)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._dispatch_soon()


def _settle(future: asyncio.Future[R], answer: R | BaseException) -> None:
    if future.done():  # its caller went away
        return
    if isinstance(answer, asyncio.CancelledError):
        future.cancel()
    elif isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)
