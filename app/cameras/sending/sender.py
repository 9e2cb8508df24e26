"""Sender: takes a camera's newest frames, has each encoded, and sends it to the service."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from app.cameras.frame import EncodedFrame, SampledFrame
from app.cameras.ledger import DropReason
from app.cameras.mailbox import Mailbox
from app.cameras.outcome import Outcome
from app.cameras.rate import per_second
from app.cameras.sending.encoding_thread import EncodingThread
from app.cameras.sending.flow_control import FlowControl
from app.cameras.sending.outcome_recorder import OutcomeRecorder
from app.core.clock import Clock
from app.errors import ImageError, SourceError


class FrameSender(Protocol):
    """The inference service, as a camera uses it."""

    async def detect(self, frame: EncodedFrame, remaining_s: float) -> Outcome:
        """Send a frame with what is left of its budget, in seconds, and return what became of it."""


class Sender:
    """Takes the newest frame out of the mailbox whenever one more may be in flight.

    Frames are encoded one after the other and sent in that order; each is settled exactly once, whatever happens. Used
    on one event loop.
    """

    def __init__(
        self,
        *,
        mailbox: Mailbox[SampledFrame],
        encoding: EncodingThread,
        client: FrameSender,
        flow: FlowControl,
        recorder: OutcomeRecorder,
        clock: Clock,
    ) -> None:
        """Wire it.

        Args:
            mailbox: holds the newest frame.
            encoding: makes JPEGs.
            client: the service.
            flow: when the next frame may be sent, and which.
            recorder: records what became of each frame.
            clock: the camera's.
        """
        self._mailbox = mailbox
        self._encoding = encoding
        self._client = client
        self._flow = flow
        self._recorder = recorder
        self._clock = clock
        self._in_flight: set[asyncio.Task[None]] = set()
        self._settled = asyncio.Event()
        self._sent_at: deque[float] = deque(maxlen=64)

    def fps(self, now: float) -> float:
        """Return the frames sent per second over the last seconds; ``now`` is in monotonic seconds."""
        return per_second(tuple(self._sent_at), now)

    async def run(self) -> None:
        """Take frame after frame; return when there are no more, and all are settled."""
        while True:
            await self._wait_for_window()
            await self._flow.wait()
            sampled = await self._mailbox.take(self._flow.is_worth_sending)
            if sampled is None:
                break
            self._flow.start()
            encoded = await self._encode(sampled)
            if encoded is not None:
                task = asyncio.create_task(self._send(encoded))
                self._in_flight.add(task)
                task.add_done_callback(self._remove)
        while self._in_flight:
            await asyncio.wait(set(self._in_flight))

    async def abandon(self) -> None:
        """Wait no longer for answers; the frames in flight are settled as unconfirmed."""
        late = set(self._in_flight)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def close(self) -> None:
        """End the encoding thread."""
        self._encoding.close()

    async def _wait_for_window(self) -> None:
        while len(self._in_flight) >= self._flow.max_in_flight:
            self._settled.clear()
            await self._settled.wait()

    def _remove(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._settled.set()

    async def _encode(self, sampled: SampledFrame) -> EncodedFrame | None:
        """Return a frame encoded, or ``None`` where it was settled without being sent."""
        encoded: EncodedFrame | None = None
        dropped = Outcome.dropped(DropReason.SHUTDOWN)  # also where this is cancelled
        try:
            if self._flow.remaining_s(sampled.captured) > 0:
                encoded = await self._encoding.encode(sampled)
            else:
                dropped = Outcome.dropped(DropReason.DEADLINE, "the budget ran out before it was encoded")
            if self._flow.stopping:
                encoded = None
        except (ImageError, SourceError) as error:
            dropped = Outcome.dropped(DropReason.ENCODE_ERROR, str(error))
        except Exception as fault:  # noqa: BLE001 - a defect costs one frame, not the camera
            dropped = Outcome.dropped(DropReason.ENCODE_ERROR, "internal error")
            self._recorder.report_fault(fault, "while a frame was encoded")
        finally:
            if encoded is None:
                self._recorder.settle(dropped)
        if encoded is None:
            self._conclude(dropped)
        return encoded

    async def _send(self, encoded: EncodedFrame) -> None:
        """Send a frame and settle it."""
        outcome = Outcome.unconfirmed("its answer was not waited for")  # if it is cancelled
        try:
            outcome = await self._deliver(encoded)
        except Exception as fault:  # noqa: BLE001 - a defect costs one frame, not the camera
            self._recorder.report_fault(fault, "while a frame was sent")
        finally:
            self._recorder.settle(outcome)
        self._conclude(outcome)

    async def _deliver(self, encoded: EncodedFrame) -> Outcome:
        sent = self._clock.monotonic()
        self._sent_at.append(sent)
        outcome = await self._client.detect(encoded, self._flow.remaining_s(encoded.captured))
        answered = self._clock.monotonic()
        self._flow.record_answer(outcome, sent, answered)
        self._recorder.record_answer(encoded, outcome, answered)
        return outcome

    def _conclude(self, outcome: Outcome) -> None:
        if not self._flow.stopping:  # what a camera that stops does not get through any more is no trouble
            self._recorder.report(outcome)
        self._flow.back_off(outcome)
