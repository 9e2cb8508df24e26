"""Camera: one source watched, its sampled frames sent, and each of them accounted for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from app.camera_settings import CameraSettings
from app.cameras.accounts import Accounts, CameraObserver, SilentObserver
from app.cameras.backoff import Backoff
from app.cameras.blocking import ServiceWatch
from app.cameras.capture import CaptureThread, Health
from app.cameras.clock import Clock
from app.cameras.encoder import EncodedFrame, Encoder, SampledFrame
from app.cameras.mailbox import Mailbox
from app.cameras.outcomes import Fate, Outcome
from app.cameras.rate import per_second
from app.cameras.recent import Recent
from app.cameras.sources import RawFrame, Source, open_source
from app.cameras.status import CameraState, CameraStatus
from app.errors import ImageError
from app.frames import Frame
from app.ledger import CameraLedger, DropReason
from app.source_url import SourceUrl

_log = logging.getLogger(__name__)


class FrameSender(Protocol):
    """The inference service, as a camera sees it."""

    async def detect(self, frame: EncodedFrame, remaining_s: float) -> Outcome:
        """Send a frame with what is left of its budget, in seconds, and tell what became of it."""


@dataclass(frozen=True)
class CameraTiming:
    """How patient a camera is; all in seconds."""

    stall_s: float = 5.0
    """A live source silent for so long is opened again."""
    reopen_first_s: float = 0.5
    reopen_most_s: float = 4.0
    """Between two tries to open a source."""
    resend_first_s: float = 0.1
    resend_most_s: float = 2.0
    """Between two frames sent while no service is there."""
    blocked_s: float = 2.0
    """Frames that fail for so long, none accepted between, mean that the service blocks the camera."""
    settle_s: float = 2.0
    """How long a stopping camera waits for the answer of the frame in flight."""
    join_s: float = 3.0
    """How long a stopping camera waits for its capture thread."""


class Camera:
    """Samples its source, and sends the newest sampled frame whenever the one before is answered.

    There is no queue: what a newer frame replaces is counted ``superseded``. A frame is encoded when its turn
    has come, so a superseded one costs no encoding. Every sampled frame ends in one place of the ledger.
    """

    def __init__(
        self,
        settings: CameraSettings,
        *,
        client: FrameSender,
        epoch: int,
        budget_ms: float,
        ledger: CameraLedger | None = None,
        observer: CameraObserver | None = None,
        source_factory: Callable[[SourceUrl, float, Clock], Source] = open_source,
        clock: Clock | None = None,
        timing: CameraTiming | None = None,
        max_in_flight: int = 1,
    ) -> None:
        if settings.fps is None:
            raise ValueError(f"camera {settings.id} has no fps: load_settings fills it in")
        self._settings = settings
        self._fps = settings.fps
        self._client = client
        self._epoch = epoch
        self._budget_s = budget_ms / 1000
        self._clock = clock or Clock()
        self._timing = timing or CameraTiming()
        self._in_flight = max_in_flight
        self._observer = observer or SilentObserver()
        self._accounts = Accounts(ledger or CameraLedger(), self._observer)
        self._encoder = Encoder(settings.max_side, settings.jpeg_quality)
        self._mailbox: Mailbox[SampledFrame] = Mailbox()
        self._resend = Backoff(self._timing.resend_first_s, self._timing.resend_most_s)
        self._stopping = asyncio.Event()
        self._finished = asyncio.Event()
        self._running = False
        self._sequence = 0
        self._reconnects = 0
        self._size: tuple[int, int] | None = None
        self._samples: deque[float] = deque(maxlen=64)
        self._round_trip_ms: float | None = None
        self.recent = Recent()
        self._last_reason: DropReason | None = None
        self._service = ServiceWatch(self._clock, self._timing.blocked_s)
        self._capture = CaptureThread(
            settings.id,
            make_source=lambda: source_factory(settings.url, self._fps, self._clock),
            fps=self._fps,
            hand_over=self._hand_over,
            on_health=self._tell_health,
            on_reopen=self._count_reopen,
            on_end=self._mailbox.finish,
            backoff=Backoff(self._timing.reopen_first_s, self._timing.reopen_most_s),
            stall_s=self._timing.stall_s,
            clock=self._clock,
        )

    async def run(self) -> None:
        """Watch the source until ``stop``, or until it has ended and its last frame is settled; runs once.

        Cancelled, it settles every frame first, as ``stop`` does.
        """
        assert not self._running, "a camera runs once"
        self._running = True
        self._mailbox.bind(asyncio.get_running_loop())
        encoders = ThreadPoolExecutor(self._in_flight, f"encode-{self._settings.id}")
        senders = [asyncio.create_task(self._send(encoders)) for _ in range(self._in_flight)]
        stop = asyncio.create_task(self._stopping.wait())
        watch = asyncio.create_task(self._watch())
        try:
            if not self._stopping.is_set():
                self._capture.start()
                await asyncio.wait({stop, *senders}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            watch.cancel()
            await self._shut_down(senders, encoders)
            self._finished.set()

    async def stop(self) -> None:
        """End ``run`` and wait for its end.

        The frame that waits is counted ``shutdown``; the one in flight is given a while to get its answer.
        """
        self._stopping.set()
        if self._running:
            await self._finished.wait()

    def status(self) -> CameraStatus:
        """Tell how the camera is; callable at any time."""
        health = self._capture.health
        return CameraStatus(
            id=self._settings.id,
            url=str(self._settings.url),
            state=health.state,
            reason=health.reason,
            since=health.since,
            epoch=self._epoch,
            ledger=self._accounts.snapshot(),
            width=self._size[0] if self._size else None,
            height=self._size[1] if self._size else None,
            fps_asked=self._fps,
            fps_measured=self._measured_fps(),
            round_trip_ms=self._round_trip_ms,
            reconnects=self._reconnects,
            fps_delivered=self.recent.fps(self._clock.monotonic()),
            blocked=self._service.blocked,
        )

    # In the capture thread.

    def _hand_over(self, index: int, raw: RawFrame) -> None:
        frame = Frame(self._settings.id, f"{self._epoch}-{index}", raw.captured.at, raw.image)
        self._accounts.sample()
        self._sequence += 1
        self._size = (frame.width, frame.height)
        self._samples.append(raw.captured.monotonic)
        sampled = SampledFrame(frame, self._epoch, self._sequence, raw.captured.monotonic)
        displaced = self._mailbox.put(sampled)
        if displaced is not None:
            newest = displaced is not sampled
            self._accounts.drop(DropReason.SUPERSEDED if newest else DropReason.SHUTDOWN)

    def _tell_health(self, health: Health) -> None:
        self._observer.up(health.state is CameraState.LIVE)

    def _count_reopen(self) -> None:
        self._reconnects += 1
        self._observer.reconnected()

    # On the event loop.

    async def _send(self, encoders: ThreadPoolExecutor) -> None:
        while (sampled := await self._mailbox.take()) is not None:
            outcome = Outcome.dropped(DropReason.SHUTDOWN)
            try:
                encoded = await self._encode(sampled, encoders)
                if isinstance(encoded, Outcome):
                    outcome = encoded
                else:
                    outcome = Outcome.unconfirmed("its answer was not waited for")  # if it is cancelled
                    outcome = await self._deliver(encoded)
            except Exception:  # noqa: BLE001 - a fault of ours costs one frame, not the camera
                if outcome.fate is Fate.DROPPED:
                    outcome = Outcome.dropped(DropReason.ENCODE_ERROR, "a fault of ours")
                _log.exception("camera %s: a fault of ours while a frame was sent", self._settings.id)
            finally:
                self._accounts.settle(outcome)
            await self._after(outcome)

    async def _encode(self, sampled: SampledFrame, encoders: ThreadPoolExecutor) -> EncodedFrame | Outcome:
        if self._remaining_s(sampled.captured) <= 0:
            return Outcome.dropped(DropReason.DEADLINE, "the budget ran out before it was encoded")
        loop = asyncio.get_running_loop()
        try:
            encoded = await loop.run_in_executor(encoders, self._encoder.encode, sampled)
        except ImageError as error:
            return Outcome.dropped(DropReason.ENCODE_ERROR, str(error))
        if self._stopping.is_set():
            return Outcome.dropped(DropReason.SHUTDOWN)
        return encoded

    async def _deliver(self, encoded: EncodedFrame) -> Outcome:
        began = self._clock.monotonic()
        outcome = await self._client.detect(encoded, self._remaining_s(encoded.captured))
        ended = self._clock.monotonic()
        self._round_trip_ms = (ended - began) * 1000
        self.recent.note(encoded, outcome, ended)
        return outcome

    async def _after(self, outcome: Outcome) -> None:
        self._log_change(outcome)
        self._service.note(outcome)
        if outcome.fate is not Fate.DROPPED:
            self._resend.reset()
        elif outcome.reason is DropReason.UNAVAILABLE:
            await self._pause(self._resend.next())

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _log_change(self, outcome: Outcome) -> None:
        """Say once when frames begin to be dropped for a lasting reason, and once when they pass again."""
        lasting = outcome.reason in (DropReason.UNAVAILABLE, DropReason.REJECTED, DropReason.ENCODE_ERROR)
        if lasting and outcome.reason is not self._last_reason:
            _log.warning(
                "camera %s: frames are dropped (%s): %s",
                self._settings.id,
                outcome.reason.value if outcome.reason else "",
                outcome.detail,
            )
            self._last_reason = outcome.reason
        elif outcome.fate is Fate.ACCEPTED and self._last_reason is not None:
            _log.info("camera %s: frames are accepted again", self._settings.id)
            self._last_reason = None

    def _remaining_s(self, captured: float) -> float:
        return captured + self._budget_s - self._clock.monotonic()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(min(0.5, self._timing.stall_s / 4))
            self._capture.check()
            # Told again and again, changed or not: a gauge that is not set is forgotten by the next report.
            self._tell_health(self._capture.health)
            self._accounts.tell()

    async def _shut_down(self, senders: list[asyncio.Task[None]], encoders: ThreadPoolExecutor) -> None:
        self._capture.stop()
        if self._mailbox.discard() is not None:
            self._accounts.drop(DropReason.SHUTDOWN)
        _, late = await asyncio.wait(senders, timeout=self._timing.settle_s)
        for sender in late:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
        loop = asyncio.get_running_loop()
        if not await loop.run_in_executor(encoders, self._capture.join, self._timing.join_s):
            _log.warning("camera %s: its source hangs and is left behind", self._settings.id)
        encoders.shutdown(wait=False)

    def _measured_fps(self) -> float:
        """Give the sampled frames per second over the last 64, or over the last 10 s where that is shorter."""
        return per_second(tuple(self._samples), self._clock.monotonic())
