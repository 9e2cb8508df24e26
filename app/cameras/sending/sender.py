"""Sending: a camera's newest frames on their way to the service, each encoded, sent and accounted for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from app.cameras.accounts import Accounts
from app.cameras.frame import EncodedFrame, SampledFrame
from app.cameras.history import FrameHistory
from app.cameras.ledger import DropReason
from app.cameras.mailbox import Mailbox
from app.cameras.outcome import Fate, Outcome
from app.cameras.rate import per_second
from app.cameras.sending.encoder import Encoder
from app.cameras.sending.in_flight import InFlightWindow
from app.cameras.sending.pace import Pace
from app.cameras.sending.service_watch import ServiceWatch
from app.cameras.status import Blocked
from app.core.backoff import Backoff
from app.core.clock import Clock
from app.errors import ImageError, SourceError
from app.telemetry.trouble_log import TroubleLog

_log = logging.getLogger(__name__)

FRESH_SHARE = 0.25
"""Of the budget: a frame not older than this is sent, however long answers take."""
WAITED_SHARE = 0.1
"""Of the budget: a frame of a slowed camera that has waited longer for its turn is left for the next one, which will
not have to wait."""
SPARE = 1.3
"""Times the last round trip is what an older frame must have left: half of all round trips are longer than the last."""
_LASTING = frozenset({DropReason.UNAVAILABLE, DropReason.REJECTED, DropReason.ENCODE_ERROR})
"""A frame dropped for these is seldom the only one."""
_BLOCKING = frozenset({DropReason.DEADLINE, DropReason.OVERLOADED})
"""These are told only once they block the camera: now and then they are the service's way to keep up."""


class FrameSender(Protocol):
    """The inference service, as a camera sees it."""

    async def detect(self, frame: EncodedFrame, remaining_s: float) -> Outcome:
        """Send a frame with what is left of its budget, in seconds, and tell what became of it."""


class Sending:
    """Takes the newest frame out of the mailbox whenever one more may be under way.

    Frames are encoded one after the other and sent in that order. Used on one event loop.
    """

    def __init__(
        self,
        camera_id: str,
        *,
        mailbox: Mailbox[SampledFrame],
        encoder: Encoder,
        client: FrameSender,
        accounts: Accounts,
        recent: FrameHistory,
        window: InFlightWindow,
        pace: Pace,
        resend: Backoff,
        watch: ServiceWatch,
        budget_s: float,
        stopping: asyncio.Event,
        clock: Clock,
    ) -> None:
        """Wire it.

        Args:
            camera_id: for the log.
            mailbox: where the newest frame is.
            encoder: makes JPEGs.
            client: the service.
            accounts: told what became of each frame.
            recent: told what was seen in it.
            window: how many may be under way.
            pace: how often one may be sent.
            resend: pauses while no service is there.
            watch: told what became of each frame.
            budget_s: from capture to Kafka, seconds.
            stopping: once set, nothing more is sent.
            clock: the camera's.
        """
        self._camera_id = camera_id
        self._mailbox = mailbox
        self._encoder = encoder
        self._client = client
        self._accounts = accounts
        self._recent = recent
        self._window = window
        self._pace = pace
        self._resend = resend
        self._service = watch
        self._budget_s = budget_s
        self._stopping = stopping
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, f"encode-{camera_id}")  # one: so frames stay in their order
        self._under_way: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._not_before = 0.0
        self._free_at = -math.inf
        """Since when another frame may be sent."""
        self._round_trip_s: float | None = None
        self.size: tuple[int, int] | None = None
        """Width and height in pixels of the newest frame that was encoded, before it was shrunk."""
        self._sent_at: deque[float] = deque(maxlen=64)
        self._held_until = -math.inf
        self._drops = self._trouble_log("frames are dropped", logging.WARNING)
        self._faults = self._trouble_log("a fault of ours", logging.ERROR)

    @property
    def round_trip_ms(self) -> float | None:
        """From sending to the answer, of the last frame that was sent."""
        return None if self._round_trip_s is None else self._round_trip_s * 1000

    @property
    def blocked(self) -> Blocked | None:
        """What keeps frames from becoming events, where something does for a while."""
        return self._service.blocked

    def rebudget(self, budget_s: float) -> None:
        """Give frames that are sent from now on another budget, in seconds."""
        self._budget_s = budget_s

    def fps(self, now: float) -> float:
        """Give the frames sent per second, lately; ``now`` is monotonic."""
        return per_second(tuple(self._sent_at), now)

    def held_back(self, sampled: SampledFrame) -> bool:
        """Tell whether a frame that was not sent had to wait for its turn because the service is busy."""
        return sampled.captured < self._held_until

    async def run(self) -> None:
        """Take frame after frame; end when there are no more, and all are settled."""
        while True:
            await self._may_send()
            self._free_at = self._clock.monotonic()
            sampled = await self._mailbox.take(self._is_worth_it)
            if sampled is None:
                break
            self._pace.send(self._clock.monotonic())
            encoded = await self._encoded(sampled)
            if encoded is not None:
                task = asyncio.create_task(self._settle(encoded))
                self._under_way.add(task)
                task.add_done_callback(self._landed)
        while self._under_way:
            await asyncio.wait(set(self._under_way))

    async def give_up(self) -> None:
        """Wait no longer for answers; the frames under way are settled as unconfirmed."""
        late = set(self._under_way)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def close(self) -> None:
        """End the encoding thread."""
        self._thread.shutdown(wait=False)

    async def _may_send(self) -> None:
        while len(self._under_way) >= self._window.size:
            self._room.clear()
            await self._room.wait()
        now = self._clock.monotonic()
        resend_s, pace_s = self._not_before - now, self._pace.wait_s(now)
        if pace_s > max(0.0, resend_s):
            self._held_until = now + pace_s
        await self._pause(max(resend_s, pace_s))

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._room.set()

    def _is_worth_it(self, sampled: SampledFrame) -> bool:
        """Tell whether a frame can still be answered in time, or is as fresh as frames get."""
        age_s = self._clock.monotonic() - sampled.captured
        left_s = self._budget_s - age_s
        if left_s <= 0:
            return True  # what is over is taken too, and counted for what it is
        if self._pace.slowed:
            return sampled.captured >= self._free_at - self._budget_s * WAITED_SHARE
        return age_s <= self._budget_s * FRESH_SHARE or left_s >= SPARE * (self._round_trip_s or 0.0)

    async def _encoded(self, sampled: SampledFrame) -> EncodedFrame | None:
        """Encode a frame; none where it ended there."""
        outcome = Outcome.dropped(DropReason.SHUTDOWN)
        encoded: EncodedFrame | Outcome = outcome
        try:
            encoded = await self._encode(sampled)
            if isinstance(encoded, Outcome):
                outcome = encoded
        except Exception as fault:  # noqa: BLE001 - a fault of ours costs one frame, not the camera
            outcome = Outcome.dropped(DropReason.ENCODE_ERROR, "a fault of ours")
            self._faults.again(f"{type(fault).__name__} while a frame was encoded", error=fault)
        finally:
            if not isinstance(encoded, EncodedFrame):
                self._accounts.settle(outcome)
        if isinstance(encoded, EncodedFrame):
            return encoded
        self._after(outcome)
        return None

    async def _settle(self, encoded: EncodedFrame) -> None:
        """Send a frame and account for it."""
        outcome = Outcome.unconfirmed("its answer was not waited for")  # if it is cancelled
        try:
            outcome = await self._deliver(encoded)
        except Exception as fault:  # noqa: BLE001 - a fault of ours costs one frame, not the camera
            self._faults.again(f"{type(fault).__name__} while a frame was sent", error=fault)
        finally:
            self._accounts.settle(outcome)
        self._after(outcome)

    async def _encode(self, sampled: SampledFrame) -> EncodedFrame | Outcome:
        if self._remaining_s(sampled.captured) <= 0:
            return Outcome.dropped(DropReason.DEADLINE, "the budget ran out before it was encoded")
        loop = asyncio.get_running_loop()
        try:
            encoded = await loop.run_in_executor(self._thread, self._encoder.encode, sampled)
        except (ImageError, SourceError) as error:
            return Outcome.dropped(DropReason.ENCODE_ERROR, str(error))
        self.size = (encoded.source_width, encoded.source_height)
        if self._stopping.is_set():
            return Outcome.dropped(DropReason.SHUTDOWN)
        return encoded

    async def _deliver(self, encoded: EncodedFrame) -> Outcome:
        began = self._clock.monotonic()
        self._sent_at.append(began)
        outcome = await self._client.detect(encoded, self._remaining_s(encoded.captured))
        ended = self._clock.monotonic()
        self._round_trip_s = ended - began
        if outcome.response is not None:
            self._window.note(ended - began, outcome.response.latency.queue_ms / 1000)
        self._pace.note(outcome, ended, ended - began)
        self._recent.note(encoded, outcome, ended)
        return outcome

    def _after(self, outcome: Outcome) -> None:
        self._service.note(outcome)
        self._tell_drops(outcome)
        if outcome.fate is not Fate.DROPPED:
            self._resend.reset()
        elif outcome.reason is DropReason.UNAVAILABLE:
            self._not_before = self._clock.monotonic() + self._resend.next()

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)

    def _tell_drops(self, outcome: Outcome) -> None:
        if outcome.fate is Fate.ACCEPTED:
            self._drops.over(f"camera {self._camera_id}: frames are accepted again")
        elif outcome.reason is not None and (
            outcome.reason in _LASTING or (outcome.reason in _BLOCKING and self._service.blocked)
        ):
            reason = outcome.reason.value
            self._drops.again(f"{outcome.detail} ({reason})" if outcome.detail else reason, reason=reason)

    def _trouble_log(self, subject: str, level: int) -> TroubleLog:
        return TroubleLog(
            _log,
            f"camera {self._camera_id}: {subject}",
            unit="frames",
            camera_id=self._camera_id,
            level=level,
            monotonic=self._clock.monotonic,
        )

    def _remaining_s(self, captured: float) -> float:
        return captured + self._budget_s - self._clock.monotonic()
