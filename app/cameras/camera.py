"""Camera: one source watched, its sampled frames sent, and each of them accounted for."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from app.cameras.accounts import Accounts, CameraObserver, NullObserver
from app.cameras.capture import CaptureThread, Health
from app.cameras.frame import SampledFrame
from app.cameras.history import FrameHistory
from app.cameras.ledger import CameraLedger, DropReason
from app.cameras.mailbox import Mailbox
from app.cameras.rate import per_second
from app.cameras.recent_drops import RecentDrops
from app.cameras.sending.encoder import Encoder
from app.cameras.sending.in_flight import MOST_IN_FLIGHT, InFlightWindow
from app.cameras.sending.pace import Pace
from app.cameras.sending.sender import FrameSender, Sending
from app.cameras.sending.service_watch import ServiceWatch
from app.cameras.sources import RawFrame, Source, open_source
from app.cameras.status import CameraState, CameraStatus
from app.core.backoff import Backoff
from app.core.clock import Clock
from app.settings.cameras import USUAL_STALL_S, CameraSettings
from app.settings.source_url import SourceUrl

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CameraTiming:
    """How patient a camera is; all in seconds."""

    stall_s: float = USUAL_STALL_S
    """A live source silent for so long is opened again, where the camera does not say its own."""
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

    @property
    def refused_first_s(self) -> float:
        """Between two tries from the third refusal of the account on: a minute, where the timing is the usual one."""
        return 15 * self.reopen_most_s

    @property
    def refused_most_s(self) -> float:
        """The longest of these pauses: ten minutes, where the timing is the usual one."""
        return 150 * self.reopen_most_s


class Camera:
    """Samples its source, and sends the newest sampled frame whenever the one before is answered.

    A camera whose rate asks for it has several frames under way (:class:`InFlightWindow`); one that finds the service
    busier than it can be sends less often (:class:`Pace`). There is no queue: what a newer frame replaces is counted
    ``superseded``. A frame is encoded when its turn has come, so a superseded one costs no encoding; and one that is
    too old to be answered in time is left for a newer one to replace. Frames are encoded and sent in their order.
    Every sampled frame ends in one place of the ledger.
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
        source_factory: Callable[[SourceUrl, float, Clock], Source] | None = None,
        clock: Clock | None = None,
        timing: CameraTiming | None = None,
        max_in_flight: int = MOST_IN_FLIGHT,
    ) -> None:
        if settings.fps is None:
            raise ValueError(f"camera {settings.id} has no fps: load_settings fills it in")
        self._settings = settings
        self._fps = settings.fps
        self._epoch = epoch
        self._clock = clock or Clock()
        self._timing = timing or CameraTiming()
        self._stall_s = self._timing.stall_s if settings.stall_s is None else settings.stall_s
        make_source = source_factory or functools.partial(open_source, stall_s=self._stall_s)
        self._observer = observer or NullObserver()
        self._accounts = Accounts(ledger or CameraLedger(), RecentDrops(self._clock.monotonic), self._observer)
        self._mailbox: Mailbox[SampledFrame] = Mailbox()
        self._stopping = asyncio.Event()
        self._finished = asyncio.Event()
        self._running = False
        self._sequence = 0
        self._reconnects = 0
        self._samples: deque[float] = deque(maxlen=64)
        self.recent = FrameHistory()
        self._pace = Pace(settings.fps, budget_ms / 1000)
        self._sending = Sending(
            settings.id,
            mailbox=self._mailbox,
            encoder=Encoder(settings.max_side, settings.jpeg_quality),
            client=client,
            accounts=self._accounts,
            recent=self.recent,
            window=InFlightWindow(settings.fps, max_in_flight),
            pace=self._pace,
            resend=Backoff(self._timing.resend_first_s, self._timing.resend_most_s),
            watch=ServiceWatch(self._clock, self._timing.blocked_s),
            budget_s=budget_ms / 1000,
            stopping=self._stopping,
            clock=self._clock,
        )
        self._capture = CaptureThread(
            settings.id,
            make_source=lambda: make_source(settings.url, self._fps, self._clock),
            fps=self._fps,
            hand_over=self._hand_over,
            on_health=self._tell_health,
            on_reopen=self._count_reopen,
            on_end=self._mailbox.finish,
            backoff=Backoff(self._timing.reopen_first_s, self._timing.reopen_most_s),
            refused_backoff=Backoff(self._timing.refused_first_s, self._timing.refused_most_s),
            stall_s=self._stall_s,
            clock=self._clock,
        )

    async def run(self) -> None:
        """Watch the source until ``stop``, or until it has ended and its last frame is settled; runs once.

        Cancelled, it settles every frame first, as ``stop`` does.
        """
        assert not self._running, "a camera runs once"
        self._running = True
        self._mailbox.bind(asyncio.get_running_loop())
        sending = asyncio.create_task(self._sending.run())
        stop = asyncio.create_task(self._stopping.wait())
        watch = asyncio.create_task(self._watch())
        try:
            if not self._stopping.is_set():
                self._capture.start()
                await asyncio.wait({stop, sending}, return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()  # a fault of ours there is no end of a recording
        finally:
            stop.cancel()
            watch.cancel()
            await self._shut_down(sending)
            self._finished.set()

    async def stop(self) -> None:
        """End ``run`` and wait for its end.

        The frame that waits is counted ``shutdown``; the one in flight is given a while to get its answer.
        """
        self._stopping.set()
        if self._running:
            await self._finished.wait()

    def rebudget(self, budget_ms: float) -> None:
        """Give frames that are sent from now on another latency budget, in milliseconds."""
        self._sending.rebudget(budget_ms / 1000)
        self._pace.rebudget(budget_ms / 1000)

    def status(self) -> CameraStatus:
        """Tell how the camera is; callable at any time."""
        health, size, now = self._capture.health, self._sending.size, self._clock.monotonic()
        return CameraStatus(
            id=self._settings.id,
            url=str(self._settings.url),
            state=health.state,
            reason=health.reason,
            since=health.since,
            epoch=self._epoch,
            ledger=self._accounts.snapshot(),
            width=size[0] if size else None,
            height=size[1] if size else None,
            fps_asked=self._fps,
            fps_measured=self._measured_fps(),
            round_trip_ms=self._sending.round_trip_ms,
            reconnects=self._reconnects,
            fps_delivered=self.recent.fps(now),
            fps_sent=self._sending.fps(now),
            dropped_lately=self._accounts.dropped_lately(),
            blocked=self._sending.blocked,
        )

    # In the capture thread.

    def _hand_over(self, index: int, raw: RawFrame) -> None:
        self._accounts.sample()
        self._sequence += 1
        self._samples.append(raw.captured.monotonic)
        if raw.damaged:
            self._accounts.drop(DropReason.DAMAGED)
            return
        sampled = SampledFrame(self._settings.id, f"{self._epoch}-{index}", raw, self._epoch, self._sequence)
        displaced = self._mailbox.put(sampled)
        if displaced is sampled:
            self._accounts.drop(DropReason.SHUTDOWN)
        elif displaced is not None:
            self._accounts.drop(DropReason.SUPERSEDED, held_back=self._sending.held_back(displaced))

    def _tell_health(self, health: Health) -> None:
        self._observer.up(health.state is CameraState.LIVE)

    def _count_reopen(self) -> None:
        self._reconnects += 1
        self._observer.reconnected()

    # On the event loop.

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(min(0.5, self._stall_s / 4))
            self._capture.check()
            # Told again and again, changed or not: a gauge that is not set is forgotten by the next report.
            self._tell_health(self._capture.health)
            self._accounts.tell()

    async def _shut_down(self, sending: asyncio.Task[None]) -> None:
        self._capture.stop()
        if self._mailbox.discard() is not None:
            self._accounts.drop(DropReason.SHUTDOWN)
        await asyncio.wait({sending}, timeout=self._timing.settle_s)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await self._sending.give_up()
        if not await asyncio.to_thread(self._capture.join, self._timing.join_s):
            about = {"camera_id": self._settings.id}
            _log.warning("camera %s: its source hangs and is left behind", self._settings.id, extra=about)
        self._sending.close()

    def _measured_fps(self) -> float:
        """Give the sampled frames per second over the last 64, or over the last 10 s where that is shorter."""
        return per_second(tuple(self._samples), self._clock.monotonic())
