"""TroubleLog: a trouble that may last for hours, in a few lines a minute at most.

A camera that is away is tried again every few seconds, a Kafka that is away many times a second. Each is told at once,
then once a period with how often it happened since, and its end is told.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

PERIOD_S = 60.0
"""How long a trouble that was told is only counted."""
MAX_REASONS = 3
"""Different reasons told in one period; what comes beyond waits for the next line."""


class TroubleLog:
    """Tells of one trouble; thread-safe.

    The lines, for the subject ``camera gate-1 unreachable`` counted in ``tries``::

        camera gate-1 unreachable: connection refused
        camera gate-1 unreachable, 14 tries in 60 s: connection refused
        camera gate-1 is live again after 316 s

    A reason not told in the period is told at once. A trouble that comes and goes is told, like its end, once a period;
    the end of a trouble whose last line said that it is there is always told. As fields for logs that are read by
    programs, the lines have ``camera_id``, where there is one, ``repeats`` and ``seconds``.
    """

    def __init__(
        self,
        log: logging.Logger,
        subject: str,
        *,
        unit: str = "times",
        camera_id: str | None = None,
        level: int = logging.WARNING,
        period_s: float = PERIOD_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is told yet.

        Args:
            log: where the lines go.
            subject: what is wrong, as a line begins.
            unit: what is counted, plural.
            camera_id: the camera it is about, if one.
            level: of the lines that say the trouble is there; its end is ``INFO``.
            period_s: seconds between two lines.
            monotonic: seconds.
        """
        self._log = log
        self._subject = subject
        self._unit = unit
        self._about: dict[str, object] = {"camera_id": camera_id} if camera_id is not None else {}
        self._level = level
        self._period_s = period_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._count = 0
        """How often it happened since the last line."""
        self._told_at: float | None = None
        self._last: float | None = None
        self._began: float | None = None
        self._reasons: set[str] = set()
        self._end_owed = False

    def again(self, reason: str, /, *, error: BaseException | None = None, **fields: object) -> None:
        """It happened: tell, or count.

        Args:
            reason: why, in a line that holds no secret.
            error: told with its stack, where a line is written.
            fields: more fields of that line.
        """
        with self._lock:
            happened = self._note(reason)
        if happened is None:
            return
        count, seconds = happened
        often = f", {count} {self._unit} in {seconds:.0f} s" if count > 1 else ""
        extra = {**self._about, **fields, "repeats": count, "seconds": round(seconds, 1)}
        self._log.log(self._level, "%s%s: %s", self._subject, often, reason, exc_info=error, extra=extra)

    def over(self, line: str) -> bool:
        """It is over, if it was there: tell it with ``line``, where the last line said that it is there.

        Returns:
            Whether it was told.
        """
        with self._lock:
            began, self._began = self._began, None
            owed, self._end_owed = self._end_owed, False
            lasted = 0.0 if began is None else self._monotonic() - began
        told = began is not None and owed
        if told:
            self._log.info("%s after %.0f s", line, lasted, extra={**self._about, "seconds": round(lasted, 1)})
        return told

    def _note(self, reason: str) -> tuple[int, float] | None:
        """Count; give how often it happened in how many seconds, where it is to be told now."""
        now = self._monotonic()
        if self._last is not None and now - self._last >= self._period_s:
            self._count, self._told_at = 0, None  # a trouble of its own
        self._last = now
        self._began = now if self._began is None else self._began
        self._count += 1
        since = None if self._told_at is None else now - self._told_at
        if since is None or since >= self._period_s:
            self._reasons.clear()
        elif reason in self._reasons or len(self._reasons) >= MAX_REASONS:
            return None
        self._reasons.add(reason)
        count, self._count, self._told_at, self._end_owed = self._count, 0, now, True
        return count, since or 0.0
