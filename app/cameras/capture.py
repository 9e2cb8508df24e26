"""CaptureThread: keeps one source open, and takes from it the frames that the sampling grid picks."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from app.cameras.intake import FrameIntake
from app.cameras.sampling import EvenGrid
from app.cameras.source_health import HealthMonitor
from app.cameras.sources import Source
from app.cameras.status import CameraState
from app.core.backoff import Backoff
from app.core.clock import Clock
from app.errors import SourceEnded, SourceError, SourceRefused, SourceUnavailable

REFUSED_AFTER = 3
"""Refusals of the account in a row, after which it is tried seldom: cameras lock accounts that fail too often."""
_STABLE_S = 5.0
"""A source that gave frames for so long starts its backoff anew when it fails."""


class CaptureThread:
    """Opens the source, grabs its frames, and opens it again whenever it fails, until it is stopped.

    A frame that no grid point picks costs a ``grab`` only. The service's state never matters here.
    """

    def __init__(
        self,
        make_source: Callable[[], Source],
        *,
        fps: float,
        intake: FrameIntake,
        health: HealthMonitor,
        backoff: Backoff,
        refused_backoff: Backoff,
        clock: Clock,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            make_source: returns a new source, which is not open yet.
            fps: frames per second that are sampled.
            intake: takes the sampled frames.
            health: receives the state of the source.
            backoff: delays between two tries to open the source.
            refused_backoff: the same, once its account was refused several times in a row.
            clock: the camera's.
        """
        self._make_source = make_source
        self._fps = fps
        self._intake = intake
        self._health = health
        self._backoff = backoff
        self._refused_backoff = refused_backoff
        self._refusals = 0
        self._clock = clock
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._source: Source | None = None
        self._last_frame: float | None = None
        self._live_since: float | None = None
        self._next_index = 0
        # A daemon: a library that hangs in a read must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"capture-{health.camera_id}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; thread-safe."""
        self._stopping.set()
        self._interrupt()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread's end, at most so many seconds; return whether it has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def check(self) -> None:
        """Interrupt a live source that gave no frame for too long by our own clock; to be called regularly."""
        with self._lock:
            stalled = (
                self._source is not None
                and self._source.live
                and self._last_frame is not None
                and self._clock.monotonic() - self._last_frame > self._health.stall_s
            )
        if stalled and not self._health.stalled():
            self._interrupt()  # at the second check: between the two a late frame may still come

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._capture_once()
                except SourceEnded as ended:
                    self._health.ended(str(ended))
                    return
                except SourceError as failure:
                    self._fail(str(failure), is_refused=isinstance(failure, SourceRefused))
                except Exception as fault:  # noqa: BLE001 - whatever a library raises, the camera goes on
                    self._fail_unexpectedly(fault)
        finally:
            self._intake.finish()

    def _capture_once(self) -> None:
        source = self._make_source()
        try:
            # Adopted before it is opened: opening may take long, and a stop must reach it.
            self._adopt(source)
            source.open()
            self._last_frame = self._clock.monotonic()
            self._sample(source)
        finally:
            self._adopt(None)
            source.close()

    def _sample(self, source: Source) -> None:
        grid = EvenGrid(self._fps)
        first = self._next_index  # the frame id counts on when a source was opened again
        while (timing := source.grab()) is not None:
            self._record_frame()
            self._next_index = first + timing.index + 1
            if grid.takes(timing.time_s):
                self._intake.put(first + timing.index, source.retrieve())
        if not self._stopping.is_set():
            raise SourceUnavailable(self._health.stall_reason)

    def _adopt(self, source: Source | None) -> None:
        with self._lock:
            self._source, self._last_frame = source, None
        if self._stopping.is_set():
            self._interrupt()  # the stop came before the source was there to be interrupted

    def _interrupt(self) -> None:
        with self._lock:
            if self._source is not None:
                self._source.interrupt()

    def _record_frame(self) -> None:
        self._last_frame = self._clock.monotonic()
        if self._live_since is None or self._health.current.state is CameraState.STALLED:
            self._live_since = self._last_frame
            self._health.live()

    def _fail(self, reason: str, *, is_refused: bool) -> None:
        # What ends a read that hung is the interrupt of ``check``, and says less than the stall, which is logged.
        if self._health.current.state is CameraState.STALLED:
            reason = self._health.stall_reason
        elif not self._stopping.is_set():
            self._health.failed(reason)
        self._wait_after(reason, is_refused=is_refused)

    def _fail_unexpectedly(self, fault: Exception) -> None:
        # Its type and place are logged, not its text, which may hold the address with its password.
        reason, stack = f"the source failed with {type(fault).__name__}", traceback.extract_tb(fault.__traceback__)
        if not self._stopping.is_set():
            place = f"{Path(stack[-1].filename).name}:{stack[-1].lineno}"
            self._health.failed(f"{reason} at {place}", stack="".join(stack.format()))
        self._wait_after(reason)

    def _wait_after(self, reason: str, *, is_refused: bool = False) -> None:
        if self._stopping.is_set():
            return
        if self._live_since is not None and self._clock.monotonic() - self._live_since >= _STABLE_S:
            self._backoff.reset()
        self._live_since = None
        delay_s = self._backoff.next()
        self._refusals = self._refusals + 1 if is_refused else 0
        if self._refusals >= REFUSED_AFTER:
            delay_s = self._refused_backoff.next()
        else:
            self._refused_backoff.reset()
        self._health.waiting(reason, self._backoff.failures)
        if not self._clock.wait(self._stopping, delay_s):
            self._health.reopened()
