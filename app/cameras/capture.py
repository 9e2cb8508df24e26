"""CaptureThread: keeps one source open, and hands over the frames that the grid picks."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from app.cameras.sampling import EvenGrid
from app.cameras.sources import Capture, RawFrame, Source
from app.cameras.status import CameraState
from app.core.backoff import Backoff
from app.core.clock import Clock
from app.errors import SourceEnded, SourceError, SourceRefused, SourceUnavailable
from app.telemetry.trouble_log import TroubleLog

OFFLINE_AFTER = 3
"""Failed tries in a row, after which a camera is offline rather than reconnecting."""
REFUSED_AFTER = 3
"""Refusals of the account in a row, after which it is tried seldom: cameras lock accounts that fail too often."""
_SETTLED_S = 5.0
"""A source that gave frames for so long starts its backoff anew when it fails."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Health:
    """How the source is."""

    state: CameraState
    reason: str
    since: datetime


class CaptureThread:
    """Opens the source, grabs its frames, and opens it again whenever it fails, until it is stopped.

    A frame that no grid point picks costs a ``grab`` only. The service's state never matters here.
    """

    def __init__(
        self,
        name: str,
        *,
        make_source: Callable[[], Source],
        fps: float,
        hand_over: Callable[[int, RawFrame], None],
        on_health: Callable[[Health], None],
        on_reopen: Callable[[], None],
        on_end: Callable[[], None],
        backoff: Backoff,
        refused_backoff: Backoff,
        stall_s: float,
        clock: Clock,
    ) -> None:
        self._name = name
        self._make_source = make_source
        self._fps = fps
        self._hand_over = hand_over
        self._on_health = on_health
        self._on_reopen = on_reopen
        self._on_end = on_end
        self._backoff = backoff
        self._refused_backoff = refused_backoff
        self._refusals = 0
        self._stall_s = stall_s
        self._clock = clock
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._source: Source | None = None
        self._heard: float | None = None
        self._live_since: float | None = None
        self._next_index = 0
        self._lived = False
        self._away = TroubleLog(
            _log, f"camera {name} unreachable", unit="tries", camera_id=name, monotonic=clock.monotonic
        )
        self._health = Health(CameraState.STARTING, "", Capture.now(clock).at)
        # A daemon: a library that hangs in a read must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"capture-{name}", daemon=True)

    @property
    def health(self) -> Health:
        """How the source is now."""
        return self._health

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; thread-safe."""
        self._stopping.set()
        self._interrupt()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread's end; whether it came."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def check(self) -> None:
        """Interrupt a live source that has been silent for too long by our own clock; called now and then."""
        with self._lock:
            silent = (
                self._source is not None
                and self._source.live
                and self._heard is not None
                and self._clock.monotonic() - self._heard > self._stall_s
            )
        if not silent:
            return
        if self._become(CameraState.STALLED, self._stalled()):
            self._away.again(self._stalled())  # the next check interrupts it, if there is no frame by then
        else:
            self._interrupt()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._capture_once()
                except SourceEnded as ended:
                    self._become(CameraState.ENDED, str(ended))
                    _log.info("camera %s has ended: %s", self._name, ended, extra={"camera_id": self._name})
                    return
                except SourceError as failure:
                    # What ends a read that hung is our own doing, and says less than the stall did.
                    stalled = self._health.state is CameraState.STALLED
                    if not stalled:  # that was told
                        self._tell_away(str(failure))
                    is_refused = isinstance(failure, SourceRefused)
                    self._wait_after(self._stalled() if stalled else str(failure), is_refused=is_refused)
                except Exception as fault:  # noqa: BLE001 - whatever a library raises, the camera goes on
                    # Its type and place are told, not its text, which may hold the address with its password.
                    reason, stack = (
                        f"the source failed with {type(fault).__name__}",
                        traceback.extract_tb(fault.__traceback__),
                    )
                    place = f"{Path(stack[-1].filename).name}:{stack[-1].lineno}"
                    self._tell_away(f"{reason} at {place}", stack="".join(stack.format()))
                    self._wait_after(reason)
        finally:
            self._on_end()

    def _capture_once(self) -> None:
        source = self._make_source()
        try:
            # Adopted before it is opened: opening may take long, and a stop must reach it.
            self._adopt(source)
            source.open()
            self._heard = self._clock.monotonic()
            self._pump(source)
        finally:
            self._adopt(None)
            source.close()

    def _pump(self, source: Source) -> None:
        grid = EvenGrid(self._fps)
        first = self._next_index  # the frame id counts on when a source was opened again
        while (timing := source.grab()) is not None:
            self._hear()
            self._next_index = first + timing.index + 1
            if grid.takes(timing.time_s):
                self._hand_over(first + timing.index, source.retrieve())
        if not self._stopping.is_set():
            raise SourceUnavailable(self._stalled())

    def _adopt(self, source: Source | None) -> None:
        with self._lock:
            self._source, self._heard = source, None
        if self._stopping.is_set():
            self._interrupt()  # it was asked to stop before the source was there to be told

    def _interrupt(self) -> None:
        with self._lock:
            if self._source is not None:
                self._source.interrupt()

    def _hear(self) -> None:
        self._heard = self._clock.monotonic()
        if self._live_since is None or self._health.state is CameraState.STALLED:
            self._live_since = self._heard
            if self._become(CameraState.LIVE, ""):
                self._tell_live()

    def _wait_after(self, reason: str, *, is_refused: bool = False) -> None:
        if self._stopping.is_set():
            return
        if self._live_since is not None and self._clock.monotonic() - self._live_since >= _SETTLED_S:
            self._backoff.reset()
        self._live_since = None
        pause_s = self._backoff.next()
        self._refusals = self._refusals + 1 if is_refused else 0
        if self._refusals >= REFUSED_AFTER:
            pause_s = self._refused_backoff.next()
        else:
            self._refused_backoff.reset()
        state = CameraState.OFFLINE if self._backoff.failures >= OFFLINE_AFTER else CameraState.RECONNECTING
        self._become(state, reason)
        if not self._clock.wait(self._stopping, pause_s):
            self._on_reopen()

    def _become(self, state: CameraState, reason: str) -> bool:
        """Take a state on; whether it is another than before."""
        with self._lock:
            before = self._health
            if (before.state, before.reason) == (state, reason):
                return False
            since = before.since if before.state is state else Capture.now(self._clock).at
            self._health = health = Health(state, reason, since)
        self._on_health(health)
        return before.state is not state

    def _tell_away(self, reason: str, stack: str | None = None) -> None:
        if not self._stopping.is_set():
            self._away.again(reason, stack=stack)

    def _tell_live(self) -> None:
        told = self._away.over(f"camera {self._name} is live again")
        if not told and not self._lived:
            _log.info("camera %s is live", self._name, extra={"camera_id": self._name})
        self._lived = True

    def _stalled(self) -> str:
        return f"no frame for {self._stall_s:g} s"
