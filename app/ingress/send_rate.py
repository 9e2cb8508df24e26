"""SendRate: how often each camera may send, so that all together send what the service carries."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Callable

SPARE_SHARE = 0.4
"""Of what the model leaves of a frame's budget on arrival: half of the frames may wait for so long, in all; the rest is
for Kafka and for the other half."""
LEAST_SHARE = 0.15
"""Of a frame's budget on arrival: frames may wait for so long, however slow the model is."""
INTERVAL_S = 0.2
"""Between two changes of the rate."""
MIN_FRAMES = 4
"""Frames of which half must have waited too long; fewer say nothing of the service."""
LOST_SHARE = 0.08
"""Of the frames: more that are lost are a sign of overload, however little the others wait."""
LEAST_FACTOR = 2.0
"""Times the shortest wait of the last seconds: what always takes long is no sign of overload."""
_LEAST_INTERVALS = 50
MAX_FPS = 1_000.0
"""More than any camera samples."""
_MIN_FPS = 0.1
_DECREASE, _MAX_DECREASE = 0.06, 0.06
"""Of the rate in an interval: for a wait of twice what is allowed, and at most."""
_INCREASE_PER_S = 0.8
"""Of the rate, where nothing waits at all, and proportionally less the nearer the wait is to what is allowed."""
_CALM_S = 2.0
"""Without a sign of overload for so long, the increase doubles."""
_MAX_INCREASE = 0.15
"""Of the rate in an interval."""
_SEEN_S, _SEEN_WINDOWS = 1.0, 5


class SendRate:
    """One rate for all cameras, raised while frames have budget to spare, and lowered while they have not.

    Each answer names it, and a camera that samples more often sends no more than that: an explicit rate, as RCP
    (Dukkipati and McKeown, "Why flow-completion time is the right metric for congestion control", ACM SIGCOMM Computer
    Communication Review 36(1), 2006) and XCP have it. Cameras that judge by their own answers see few of them, come
    down one after the other, and come back slowly; the service sees all frames, and one rate for all is fair at once.
    For one event loop.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Begin without a limit; ``monotonic`` returns seconds."""
        self._monotonic = monotonic
        self._rate = MAX_FPS
        self._changed = self._window_began = monotonic()
        self._calm_s = 0.0
        self._loads: list[float] = []
        self._lost = 0
        self._waits: list[float] = []
        self._least: deque[float] = deque(maxlen=_LEAST_INTERVALS)
        self._arrived: dict[str, int] = {}
        self._seen: deque[float] = deque(maxlen=_SEEN_WINDOWS)
        """The rate of the camera that sent most often, in each of the last seconds."""

    @property
    def fps(self) -> float:
        """Frames per second that a camera may send; ``MAX_FPS``: as many as it has."""
        return self._rate

    def arrived(self, camera_id: str) -> None:
        """Count a frame of a camera."""
        now = self._monotonic()
        if now - self._window_began >= _SEEN_S:
            self._seen.append(max(self._arrived.values(), default=0) / (now - self._window_began))
            self._arrived, self._window_began = {}, now
        self._arrived[camera_id] = self._arrived.get(camera_id, 0) + 1

    def answered(self, elapsed_s: float, work_s: float, budget_s: float) -> None:
        """Record an accepted frame.

        Args:
            elapsed_s: seconds from its arrival until its event was durable.
            work_s: those of them in which it was decoded and the model ran.
            budget_s: what was left of its budget on arrival.
        """
        waited_s = max(0.0, elapsed_s - work_s)
        allowed_s = max(LEAST_SHARE * budget_s, SPARE_SHARE * (budget_s - work_s))
        self._waits.append(waited_s)
        self._record(waited_s / allowed_s)

    def lost(self) -> None:
        """Record a frame whose budget ran out, or that had no room."""
        self._lost += 1
        self._record(math.inf)

    def _record(self, load: float) -> None:
        self._loads.append(load)
        now = self._monotonic()
        if now - self._changed >= INTERVAL_S and len(self._loads) >= MIN_FRAMES:
            self._change(min(now - self._changed, 2 * INTERVAL_S))
            self._changed = now
            self._loads.clear()
            self._lost = 0
            self._waits.clear()

    def _change(self, seconds: float) -> None:
        load = max(statistics.median_low(self._loads), self._lost / (LOST_SHARE * len(self._loads)))
        if self._waits:
            self._least.append(min(self._waits))
            if load < math.inf and statistics.median_low(self._waits) < LEAST_FACTOR * min(self._least):
                load = min(load, 1.0)
        if load > 1:
            self._calm_s = 0.0
            rate = min(self._rate, max(self._seen, default=self._rate))
            self._rate = max(_MIN_FPS, rate * (1 - min(_MAX_DECREASE, _DECREASE * (load - 1))))
        else:
            self._calm_s += seconds
            increase = _INCREASE_PER_S * seconds * (1 - load) * (1 + self._calm_s / _CALM_S)
            self._rate = min(MAX_FPS, self._rate * (1 + min(_MAX_INCREASE, increase)))
