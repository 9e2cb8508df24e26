"""Camera: captures one source, sends its sampled frames, and accounts for each of them."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass

from app.cameras.accounts import Accounts, CameraObserver, NullObserver
from app.cameras.capture import CaptureThread
from app.cameras.frame import SampledFrame
from app.cameras.history import FrameHistory
from app.cameras.intake import FrameIntake
from app.cameras.ledger import CameraLedger, DropReason
from app.cameras.mailbox import Mailbox
from app.cameras.recent_drops import RecentDrops
from app.cameras.sending.budget import LatencyBudget
from app.cameras.sending.encoder import Encoder
from app.cameras.sending.encoding_thread import EncodingThread
from app.cameras.sending.flow_control import FlowControl
from app.cameras.sending.in_flight import MAX_IN_FLIGHT, InFlightWindow
from app.cameras.sending.outcome_recorder import OutcomeRecorder
from app.cameras.sending.pace import Pace
from app.cameras.sending.sender import FrameSender, Sender
from app.cameras.sending.service_watch import ServiceWatch
from app.cameras.source_health import HealthMonitor
from app.cameras.sources import DecoderChoice, Source, open_source
from app.cameras.status import CameraStatus
from app.core.backoff import Backoff
from app.core.clock import Clock
from app.settings.cameras import DEFAULT_STALL_S, CameraSettings
from app.settings.source_url import SourceUrl

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CameraTiming:
    """The timeouts and delays of a camera, in seconds."""

    stall_s: float = DEFAULT_STALL_S
    """A live source that gives no frame for so long is opened again, where the camera does not set its own."""
    reopen_first_s: float = 0.5
    reopen_max_s: float = 4.0
    """Longest delay between two tries to open a source; the first is ``reopen_first_s``."""
    resend_first_s: float = 0.1
    resend_max_s: float = 2.0
    """Longest delay between two frames sent while no service is there; the first is ``resend_first_s``."""
    blocked_s: float = 2.0
    """The service blocks a camera whose frames have failed for so long, none accepted between."""
    settle_s: float = 2.0
    """How long a stopping camera waits for the answers of the frames in flight."""
    join_s: float = 3.0
    """How long a stopping camera waits for its capture thread."""

    @property
    def refused_first_s(self) -> float:
        """Delay between two tries from the third refusal of the account on: a minute with the default timing."""
        return 15 * self.reopen_max_s

    @property
    def refused_max_s(self) -> float:
        """The longest of these delays: ten minutes with the default timing."""
        return 150 * self.reopen_max_s


class Camera:
    """Samples its source, and sends the newest sampled frame whenever the one before is answered.

    A camera whose rate needs it has several frames in flight (:class:`InFlightWindow`); one that finds the service
    overloaded sends less often (:class:`Pace`). There is no queue: what a newer frame replaces is counted
    ``superseded``. A frame is encoded just before it is sent, so a superseded one costs no encoding; and one that is
    too old to be answered in time is left for a newer one to replace. Frames are encoded and sent in their order.
    Every sampled frame is settled in the ledger exactly once.
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
        max_in_flight: int = MAX_IN_FLIGHT,
        history: FrameHistory | None = None,
    ) -> None:
        if settings.fps is None:
            raise ValueError(f"camera {settings.id} has no fps: load_settings fills it in")
        self._settings = settings
        self._fps = settings.fps
        self._epoch = epoch
        self._clock = clock = clock or Clock()
        self._timing = timing = timing or CameraTiming()
        self._stall_s = stall_s = timing.stall_s if settings.stall_s is None else settings.stall_s
        self._decoder = DecoderChoice(settings.id, settings.decode)
        make_source = source_factory or functools.partial(open_source, stall_s=stall_s, choice=self._decoder)
        observer = observer or NullObserver()
        self._accounts = Accounts(ledger or CameraLedger(), RecentDrops(clock.monotonic), observer)
        self._mailbox: Mailbox[SampledFrame] = Mailbox()
        self._stopping = asyncio.Event()
        self._finished = asyncio.Event()
        self._running = False
        self.history = history or FrameHistory()
        self._health = HealthMonitor(settings.id, stall_s=stall_s, observer=observer, clock=clock)
        encoder = Encoder(settings.max_side, settings.jpeg_quality, settings.masks)
        self._encoding = EncodingThread(settings.id, encoder)
        self._flow = FlowControl(
            window=InFlightWindow(settings.fps, max_in_flight),
            pace=Pace(settings.fps, budget_ms / 1000),
            resend=Backoff(timing.resend_first_s, timing.resend_max_s),
            budget=LatencyBudget(budget_ms / 1000, clock.monotonic),
            stopping=self._stopping,
            clock=clock,
        )
        self._recorder = OutcomeRecorder(
            settings.id,
            accounts=self._accounts,
            history=self.history,
            watch=ServiceWatch(clock, timing.blocked_s),
            monotonic=clock.monotonic,
        )
        self._sender = Sender(
            mailbox=self._mailbox,
            encoding=self._encoding,
            client=client,
            flow=self._flow,
            recorder=self._recorder,
            clock=clock,
        )
        self._intake = FrameIntake(settings.id, epoch, mailbox=self._mailbox, accounts=self._accounts, flow=self._flow)
        self._capture = CaptureThread(
            lambda: make_source(settings.url, self._fps, clock),
            fps=settings.fps,
            intake=self._intake,
            health=self._health,
            backoff=Backoff(timing.reopen_first_s, timing.reopen_max_s),
            refused_backoff=Backoff(timing.refused_first_s, timing.refused_max_s),
            clock=clock,
        )

    async def run(self) -> None:
        """Capture and send until ``stop``, or until the source has ended and its last frame is settled; runs once.

        Cancelled, it settles every frame first, as ``stop`` does.
        """
        assert not self._running, "a camera runs once"
        self._running = True
        self._mailbox.bind(asyncio.get_running_loop())
        sending = asyncio.create_task(self._sender.run())
        stop = asyncio.create_task(self._stopping.wait())
        watch = asyncio.create_task(self._watch())
        try:
            if not self._stopping.is_set():
                self._capture.start()
                await asyncio.wait({stop, sending}, return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()  # raises: a defect there is not the end of a recording
        finally:
            stop.cancel()
            watch.cancel()
            await self._shut_down(sending)
            self._finished.set()

    async def stop(self) -> None:
        """End ``run`` and return once it has ended.

        The frame that waits is counted ``shutdown``; answers of those in flight are waited for, ``settle_s`` at most.
        """
        self._stopping.set()
        if self._running:
            await self._finished.wait()

    def set_budget(self, budget_ms: float) -> None:
        """Use another latency budget, in milliseconds, for the frames that are sent from now on."""
        self._flow.set_budget(budget_ms / 1000)

    def advance(self, epoch: int) -> None:
        """Have the frames that are sampled from now on ordered by a higher epoch; see ``app/cameras/epochs.py``."""
        self._intake.advance(epoch)

    def status(self) -> CameraStatus:
        """Return how the camera is; may be called at any time."""
        health, size, now = self._health.current, self._encoding.source_size, self._clock.monotonic()
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
            fps_measured=self._intake.fps(now),
            round_trip_ms=self._flow.round_trip_ms,
            reconnects=self._health.reconnects,
            fps_delivered=self.history.fps(now),
            fps_sent=self._sender.fps(now),
            dropped_lately=self._accounts.dropped_lately(),
            blocked=self._recorder.blocked,
            committed_epoch=self._committed_epoch(),
            decoder=self._decoder.running,
        )

    def _committed_epoch(self) -> int | None:
        """Return the newer epoch that is committed; frames sampled before :meth:`advance` may still be refused."""
        committed = self._recorder.committed_epoch
        return None if committed is None or committed < self._intake.epoch else committed

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(min(0.5, self._stall_s / 4))
            self._capture.check()
            # Reported again and again, changed or not: a gauge that is not set is missing from the next report.
            self._health.notify()
            self._accounts.notify_in_flight()

    async def _shut_down(self, sending: asyncio.Task[None]) -> None:
        self._capture.stop()
        if self._mailbox.discard() is not None:
            self._accounts.drop(DropReason.SHUTDOWN)
        await asyncio.wait({sending}, timeout=self._timing.settle_s)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await self._sender.abandon()
        if not await asyncio.to_thread(self._capture.join, self._timing.join_s):
            about = {"camera_id": self._settings.id}
            _log.warning("camera %s: its source hangs and is abandoned", self._settings.id, extra=about)
        self._sender.close()
