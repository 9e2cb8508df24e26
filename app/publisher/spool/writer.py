"""SpoolWriter: the one thread that uses the spool, and group commit: what has gathered meanwhile is one transaction."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from app.core.channel import Channel
from app.errors import DeliveryUnavailable, SpoolDamaged, SpoolUnavailable
from app.publisher.spool.analysis import Ended, cameras_analysed
from app.publisher.spool.outbox import WaitingRecord, channels_waiting, last_record_id, waiting_records
from app.publisher.spool.rows import Arrival, Committed, Delivery, LeftOver, Refusal, SpoolAccounts, Waiting
from app.publisher.spool.spool import Spool
from app.telemetry.trouble_log import TroubleLog

logger = logging.getLogger(__name__)
T = TypeVar("T")

MAX_GROUP = 200
"""Events of one transaction at most, so that none waits long for the others: tracking takes some 0.4 ms an event."""
OPEN_AGAIN_S = 0.5
"""Pause between two tries to open a spool that is in use, or whose disk is away."""
WRITE_DOWN_S = 0.2
"""How long an acknowledgement waits for arrivals to share a transaction with."""
RETRY_S = 0.25
"""Pause before acknowledgements that could not be written down are tried again."""


Outcome = Committed | SpoolUnavailable | None
"""What became of an arrival: it is durable, or was not committed; ``None``: it had been committed before."""


class _Group:
    """Arrivals that came together; they are answered together, whichever transactions they are in."""

    def __init__(self, count: int) -> None:
        self._outcomes: list[Outcome] = [None] * count
        self._left = count
        self.settled: asyncio.Future[Sequence[Outcome]] = asyncio.get_running_loop().create_future()

    def settle(self, place: int, outcome: Outcome) -> None:
        """Record what became of one of them."""
        self._outcomes[place] = outcome
        self._left -= 1
        if not self._left and not self.settled.done():
            self.settled.set_result(self._outcomes)


class SpoolWriter:
    """Commits in groups, from one event loop; opens the spool by itself, and again whenever that fails."""

    def __init__(self, open_spool: Callable[[], Spool]) -> None:
        """Prepare; nothing is opened until :meth:`start`."""
        self._open_spool = open_spool
        self._spool: Spool | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._arrivals: list[tuple[Arrival, _Group, int]] = []
        """What is to be committed; of each the group that it came with, and its place there."""
        self._deliveries: list[Delivery] = []
        self._refusals: list[Refusal] = []
        self._writing_down: asyncio.TimerHandle | None = None
        self._work = asyncio.Event()
        self._open = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._accounts: SpoolAccounts | None = None
        self._trouble = "the spool is being opened"
        self._shut = TroubleLog(logger, "nothing can be committed", unit="tries", level=logging.ERROR)
        self._closing = False
        self.groups = 0
        """Transactions so far that committed arrivals."""

    @property
    def accounts(self) -> SpoolAccounts | None:
        """The spool's numbers as of its last transaction; ``None`` before it was opened."""
        return self._accounts

    @property
    def trouble(self) -> str:
        """Why nothing can be committed now; empty while it can."""
        return self._trouble

    def start(self, opened: Callable[[LeftOver], None]) -> None:
        """Begin to open the spool, and commit from then on; ``opened`` is called once, before anything is committed."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(opened))

    async def ready(self, patience_s: float) -> None:
        """Wait for the spool to be open.

        Raises:
            SpoolUnavailable: it is not, after ``patience_s``.
        """
        if not self._open.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._open.wait(), patience_s)
        if not self._open.is_set():
            raise SpoolUnavailable(self._trouble)

    async def commit(self, arrivals: Sequence[Arrival]) -> Sequence[Outcome]:
        """Commit events with whatever else has gathered; return what became of each."""
        group = _Group(len(arrivals))
        self._arrivals += [(arrival, group, place) for place, arrival in enumerate(arrivals)]
        self._work.set()
        return await group.settled

    def deliver(self, delivery: Delivery) -> None:
        """Have an acknowledgement written down with the next group of arrivals, or in a moment where none comes.

        Until it is, the death of the process means that the event is sent once more.
        """
        self._deliveries.append(delivery)
        if self._writing_down is None:
            self._writing_down = asyncio.get_running_loop().call_later(WRITE_DOWN_S, self._write_down)

    def _write_down(self) -> None:
        self._writing_down = None
        self._work.set()

    def refuse(self, refusal: Refusal) -> None:
        """Have an event set aside with the next group."""
        self._refusals.append(refusal)
        self._work.set()

    async def knows(self, event_id: str) -> bool:
        """Return whether an event was committed before."""
        return await self.ask(lambda spool: spool.knows(event_id))

    async def waiting(self, camera_id: str, after: int, limit: int) -> list[Waiting]:
        """Return a camera's next waiting events."""
        return await self.ask(lambda spool: spool.waiting(camera_id, after, limit))

    async def waiting_records(self, channel: Channel, camera_id: str, after: int, limit: int) -> list[WaitingRecord]:
        """Return a camera's next records for a channel."""
        return await self.read(lambda database: waiting_records(database, channel, camera_id, after, limit))

    async def end_cameras(self, silent_s: Mapping[str, float | None], at_ns: int) -> Mapping[str, Ended | None]:
        """End what is under way at cameras that are gone; see :meth:`Spool.end_cameras`."""
        return await self.ask(lambda spool: spool.end_cameras(silent_s, at_ns))

    async def read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Return the answer to a question that changes nothing."""
        return await self.ask(lambda spool: spool.read(question))

    async def change(self, change: Callable[[sqlite3.Connection], None]) -> None:
        """Make a change that the ledger of events knows nothing of, in a transaction of its own.

        Raises:
            SpoolUnavailable: it was not made.
        """
        await self.ask(lambda spool: spool.change(change))

    async def tidy(self, now_ns: int) -> list[tuple[str, str]]:
        """Forget what is too old; return channel and camera of what waits again, as was asked of the quarantine."""
        again = await self.ask(lambda spool: spool.tidy(now_ns))
        self._accounts = await self.ask(lambda spool: spool.accounts())
        return again

    async def close(self) -> None:
        """Write down what has gathered, and close the file."""
        self._closing = True
        if self._writing_down is not None:
            self._writing_down.cancel()
        self._work.set()
        if self._task is not None:
            if not self._open.is_set():
                self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._spool is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._spool.close)
            self._spool = None
        for _, group, place in self._arrivals:
            group.settle(place, SpoolUnavailable("the spool was closed"))
        self._thread.shutdown(wait=False)

    async def _run(self, opened: Callable[[LeftOver], None]) -> None:
        await self._open_it(opened)
        while not self._closing:
            await self._work.wait()
            self._work.clear()
            try:
                await self._write_group()
            except SpoolUnavailable as error:
                self._shut.report(str(error))
                self._trouble = str(error)
                await self._write_settled()

    async def _open_it(self, opened: Callable[[LeftOver], None]) -> None:
        loop = asyncio.get_running_loop()
        while self._spool is None:
            try:
                self._spool = await loop.run_in_executor(self._thread, self._open_spool)
            except DeliveryUnavailable as error:
                self._shut.report(str(error))
                self._trouble = str(error)
                await asyncio.sleep(OPEN_AGAIN_S)
        left = await self.ask(_left_over)
        self._accounts = await self.ask(lambda spool: spool.accounts())
        self._trouble = ""
        self._shut.resolve("the spool is open")
        opened(left)
        self._open.set()

    async def _write_group(self) -> None:
        """Commit what has gathered; arrivals that cannot be fail, the rest is kept for another try."""
        while self._arrivals or self._deliveries or self._refusals:
            arrivals, self._arrivals = self._arrivals[:MAX_GROUP], self._arrivals[MAX_GROUP:]
            try:
                taken = await self._write([arrival for arrival, _, _ in arrivals])
            except SpoolUnavailable as error:
                for _, group, place in arrivals:
                    group.settle(place, type(error)(str(error)))
                raise
            self.groups += bool(arrivals)
            if arrivals and self._trouble:
                self._shut.resolve("the spool can be written again")
                self._trouble = ""
            for (_, group, place), one in zip(arrivals, taken, strict=True):
                group.settle(place, one)

    async def _write(self, arrivals: Sequence[Arrival]) -> list[Committed | None]:
        deliveries, refusals = tuple(self._deliveries), tuple(self._refusals)

        def transact(spool: Spool) -> tuple[list[Committed | None], SpoolAccounts]:
            return spool.commit(arrivals, deliveries, refusals), spool.accounts()

        taken, self._accounts = await self.ask(transact)
        del self._deliveries[: len(deliveries)]
        del self._refusals[: len(refusals)]
        return taken

    async def _write_settled(self) -> None:
        """Write acknowledgements down where arrivals have no room: they make it."""
        if not (self._deliveries or self._refusals):
            return
        try:
            await self._write([])
        except SpoolUnavailable:
            await asyncio.sleep(RETRY_S)
            self._work.set()

    async def ask(self, question: Callable[[Spool], T]) -> T:
        """Use the spool in its thread.

        Raises:
            SpoolUnavailable: it is not open, or could not be used.
        """
        spool = self._spool
        if spool is None:
            raise SpoolUnavailable(self._trouble)

        def answer() -> T:
            try:
                return question(spool)
            except SpoolUnavailable:
                raise
            except Exception as error:  # noqa: BLE001 - the seam: SQLite and the disk raise many kinds
                raise SpoolDamaged(f"the spool could not be used: {error}") from None

        return await asyncio.get_running_loop().run_in_executor(self._thread, answer)


def _left_over(spool: Spool) -> LeftOver:
    return LeftOver(
        order_keys=spool.order_keys(),
        cameras=spool.cameras_waiting(),
        last_id=spool.last_id(),
        records=spool.read(channels_waiting),
        last_record_id=spool.read(last_record_id),
        analysed=spool.read(cameras_analysed),
    )
