"""ClipRecorder: writes the pictures of open clips to their journals, and makes films of those that are complete.

Two threads, so that nothing of it is done where events are committed: one appends pictures, each anonymised first, in
their order; the other, at a lower priority, makes one film after the other.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from app.core.anonymiser import Anonymiser
from app.errors import EvidenceRefused, ImageError
from app.evidence import journal
from app.evidence.folder import EvidenceFolder
from app.evidence.pictures import JudgedPicture
from app.telemetry.trouble_log import TroubleLog

logger = logging.getLogger(__name__)

QUEUE_BYTES = 48 << 20
"""Of pictures that wait to be appended; what comes beyond is left out of its clip, and counted."""
_LOW_PRIORITY = 10
"""Niceness of the thread that makes films: frames in flight come first."""


@dataclass(frozen=True)
class EndedClip:
    """A clip whose film was made, or could not be."""

    key: str
    bytes: int
    """Of the film; 0 where there is none."""
    reason: str = ""
    """Why there is none."""


@dataclass
class OpenClip:
    """A clip that is being recorded."""

    key: str
    camera_id: str
    until_ns: int
    """Capture time up to which it goes."""
    limit_ns: int
    """Capture time beyond which it is not extended."""
    touched: float
    """Monotonic seconds, when a picture came last."""


class ClipRecorder:
    """Appends and encodes; called by one thread, and closed by any."""

    def __init__(self, folder: EvidenceFolder, anonymiser: Anonymiser, *, boxes: bool) -> None:
        self._folder = folder
        self._anonymiser = anonymiser
        self._boxes = boxes
        self._appending = ThreadPoolExecutor(1, "evidence-journal")
        self._encoding = ThreadPoolExecutor(1, "evidence-film", initializer=_yield_to_others)
        self._lock = threading.Lock()
        self._queued = 0
        self._ended: deque[EndedClip] = deque()
        self.left_out = 0
        """Pictures that are missing from clips: they came faster than they could be written, or could not be."""
        self._failures = TroubleLog(logger, "pictures are missing from clips", unit="pictures")

    def append(self, key: str, picture: JudgedPicture) -> None:
        """Have a picture appended to a clip's journal; never waits."""
        size = len(picture.image)
        with self._lock:
            if self._queued + size > QUEUE_BYTES:
                self.left_out += 1
                self._failures.report("they come faster than they can be written")
                return
            self._queued += size
        self._submit(self._appending, lambda: self._append(key, picture))

    def finish(self, key: str, camera_id: str) -> None:
        """Have a film made of a clip once its pictures are appended; never waits."""
        self._submit(self._appending, lambda: self._submit(self._encoding, lambda: self._encode(key, camera_id)))

    def ended(self) -> list[EndedClip]:
        """Return the clips that have ended since the last call."""
        found = []
        while self._ended:
            found.append(self._ended.popleft())
        return found

    def close(self) -> None:
        """End the threads; clips that are not made yet are made by whoever opens the spool next."""
        self._appending.shutdown(wait=True, cancel_futures=True)
        self._encoding.shutdown(wait=True, cancel_futures=True)

    def _submit(self, pool: ThreadPoolExecutor, work: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # it is being closed
            pool.submit(work)

    def _append(self, key: str, picture: JudgedPicture) -> None:
        try:
            journal.append(self._folder.journal(key), anonymised(picture, self._anonymiser))
        except FileNotFoundError:
            pass  # the clip was given up
        except (OSError, ImageError) as error:
            self.left_out += 1
            self._failures.report(str(error))
        finally:
            with self._lock:
                self._queued -= len(picture.image)

    def _encode(self, key: str, camera_id: str) -> None:
        from app.evidence.film import write_film  # here: it loads FFmpeg and OpenCV

        try:
            pictures = journal.pictures_of(self._folder.journal(key), camera_id)
            with self._folder.replacing(self._folder.path(key)) as part:
                write_film(part, pictures, boxes=self._boxes)
            size = self._folder.path(key).stat().st_size
        except (OSError, EvidenceRefused) as error:
            self._ended.append(EndedClip(key, 0, str(error)))
        except Exception as error:
            logger.error("a clip cannot be made: %s", error, exc_info=error)
            self._ended.append(EndedClip(key, 0, f"the clip cannot be made: {type(error).__name__}"))
        else:
            self._ended.append(EndedClip(key, size))


def anonymised(picture: JudgedPicture, anonymiser: Anonymiser) -> JudgedPicture:
    """Return a picture as it may be stored.

    Raises:
        ImageError: it cannot be anonymised.
    """
    if not anonymiser.concerns(picture.objects):
        return picture
    hidden = anonymiser.apply(picture.image, picture.objects, picture.width, picture.height)
    return JudgedPicture(
        picture.camera_id, picture.captured_at_ns, picture.width, picture.height, picture.objects, hidden
    )


def _yield_to_others() -> None:
    """Lower the priority of the thread that calls this: on Linux each thread has its own (setpriority(2), Notes)."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOW_PRIORITY)
