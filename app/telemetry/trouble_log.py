"""TroubleLog: logs a trouble that may last for hours in a few lines a minute at most.

A camera that is away is tried again every few seconds, a Kafka broker that is away many times a second. Each trouble is
logged at once, then once a period with the number of its occurrences since, and its end is logged.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

PERIOD_S = 60.0
"""Seconds for which a trouble that was logged is only counted."""
MAX_REASONS = 3
"""Different reasons logged in one period; further ones wait for the next line."""


class TroubleLog:
    """Logs one trouble; thread-safe.

    The lines, for the subject ``camera gate-1 unreachable`` counted in ``tries``::

        camera gate-1 unreachable: connection refused
        camera gate-1 unreachable, 14 tries in 60 s: connection refused
        camera gate-1 is live again after 316 s

    A reason not logged in the period is logged at once. A trouble that comes and goes is logged, like its end, once a
    period; the end of a trouble whose last line said that it is there is always logged. In logs
    for programs the lines have the fields ``camera_id``, where there is one, ``repeats`` and ``seconds``.
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
        """Prepare; nothing is logged yet.

        Args:
            log: receives the lines.
            subject: what is wrong; the beginning of each line.
            unit: what is counted, in the plural.
            camera_id: the camera that is concerned, if there is one.
            level: of the lines that report the trouble; its end is ``INFO``.
            period_s: seconds between two lines.
            monotonic: seconds.
        """
        self._log = log
        self._subject = subject
        self._unit = unit
        self._fields: dict[str, object] = {"camera_id": camera_id} if camera_id is not None else {}
        self._level = level
        self._period_s = period_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._count = 0
        """Occurrences since the last line."""
        self._logged_at: float | None = None
        self._last: float | None = None
        self._began: float | None = None
        self._reasons: set[str] = set()
        self._end_pending = False

    def report(self, reason: str, /, *, error: BaseException | None = None, **fields: object) -> None:
        """Report an occurrence: log it, or count it.

        Args:
            reason: why, in a line that holds no secret.
            error: logged with its stack, where a line is written.
            fields: more fields of that line.
        """
        with self._lock:
            due = self._count_one(reason)
        if due is None:
            return
        count, seconds = due
        often = f", {count} {self._unit} in {seconds:.0f} s" if count > 1 else ""
        extra = {**self._fields, **fields, "repeats": count, "seconds": round(seconds, 1)}
        self._log.log(self._level, "%s%s: %s", self._subject, often, reason, exc_info=error, extra=extra)

    def resolve(self, line: str) -> bool:
        """Report the end of the trouble, if there was one: log ``line``, where the last line reported the trouble.

        Returns:
            Whether it was logged.
        """
        with self._lock:
            began, self._began = self._began, None
            pending, self._end_pending = self._end_pending, False
            lasted = 0.0 if began is None else self._monotonic() - began
        logged = began is not None and pending
        if logged:
            self._log.info("%s after %.0f s", line, lasted, extra={**self._fields, "seconds": round(lasted, 1)})
        return logged

    def _count_one(self, reason: str) -> tuple[int, float] | None:
        """Count an occurrence; return the count and its seconds where a line is due, and ``None`` elsewhere."""
        now = self._monotonic()
        if self._last is not None and now - self._last >= self._period_s:
            self._count, self._logged_at = 0, None  # a new trouble
        self._last = now
        self._began = now if self._began is None else self._began
        self._count += 1
        since = None if self._logged_at is None else now - self._logged_at
        if since is None or since >= self._period_s:
            self._reasons.clear()
        elif reason in self._reasons or len(self._reasons) >= MAX_REASONS:
            return None
        self._reasons.add(reason)
        count, self._count, self._logged_at, self._end_pending = self._count, 0, now, True
        return count, since or 0.0
