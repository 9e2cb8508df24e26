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
_MAX_LOAD = 4.0
"""Of what is allowed; more says nothing more."""
_TRIAL = 0.6
"""Of the rate at which frames waited too long: as far it is lowered, then it must have helped. Below what a service
carries its queue is gone at once."""
HOLD_S, HOLD_FRAMES = 1.5, 4
"""Seconds, or frames of each camera if those take longer, that cameras and queues have to follow."""
_OVER = 0.9
"""Of what is allowed: frames that wait for less are no longer too many."""
_HELPED = 0.8
"""Of the load then."""
TOLERATED_S = 15.0
"""Seconds for which waits that a lower rate has not shortened count for nothing: they are the network's, the disk's, or
those of a machine with other work on it."""
_CARRIED = 1.1
"""Times what was accepted of a camera: where frames wait too long, more than that is not carried."""
_SHORTEST_S = 1.0
_SEEN_S, _SEEN_WINDOWS = 3.0, 2


class SendRate:
    """One rate for all cameras, raised while frames have budget to spare, and lowered while they have not.

    Each answer names it, and a camera that samples more often sends no more than that: an explicit rate, as RCP
    (Dukkipati and McKeown, "Why flow-completion time is the right metric for congestion control", ACM SIGCOMM Computer
    Communication Review 36(1), 2006) and XCP have it. Cameras that judge by their own answers see few of them, come
    down one after the other, and come back slowly; the service sees all frames, and one rate for all is fair at once.

    Frames may also wait for what a lower rate does not help against: other work on the machine, a slow disk. Cameras
    that slow down for it send ever less, for nothing. So a rate that was lowered must have shortened the waits, or it
    is lifted again. (These and the constants were chosen by a simulation of 8 to 32 cameras:
    ``tests/unit/cameras/sending/test_pace_simulated.py``.) For one event loop.
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
        self._episode: tuple[float, float] | None = None
        """The rate and the load at which it began to be lowered."""
        self._judged_at = -math.inf
        """When it is to be seen whether a lower rate has helped."""
        self._tolerated, self._tolerated_until = 1.0, -math.inf
        """The load that is not taken for one of ours, and until when."""
        self._accepted: dict[str, int] = {}
        self._seen: deque[float] = deque(maxlen=_SEEN_WINDOWS)
        """The share of a camera in what was accepted, in each of the last windows."""

    @property
    def fps(self) -> float:
        """Frames per second that a camera may send; ``MAX_FPS``: as many as it has."""
        return self._rate

    def answered(self, camera_id: str, elapsed_s: float, work_s: float, budget_s: float) -> None:
        """Record an accepted frame.

        Args:
            camera_id: its camera.
            elapsed_s: seconds from its arrival until its event was durable.
            work_s: those of them in which it was decoded and the model ran.
            budget_s: what was left of its budget on arrival.
        """
        waited_s = max(0.0, elapsed_s - work_s)
        allowed_s = max(LEAST_SHARE * budget_s, SPARE_SHARE * (budget_s - work_s))
        self._waits.append(waited_s)
        self._count(camera_id)
        self._record(waited_s / allowed_s)

    def lost(self) -> None:
        """Record a frame whose budget ran out, or that had no room."""
        self._lost += 1
        self._record(math.inf)

    def _lower(self, load: float) -> None:
        """Lower the rate, unless that has not helped so far: then what makes frames wait is not that they are many."""
        if not self._seen:
            return  # it is not known yet what there is to lower
        rate = min(self._rate, _CARRIED * max(*self._seen, self._share(self._monotonic())))
        began, load_then = self._episode = self._episode or (rate, load)
        now = self._monotonic()
        if rate > _TRIAL * began:
            self._rate = max(_MIN_FPS, rate * (1 - min(_MAX_DECREASE, _DECREASE * (load - 1))))
            self._judged_at = now + max(HOLD_S, HOLD_FRAMES / self._rate)
        elif now < self._judged_at:
            self._rate = rate
        elif load > _HELPED * load_then:
            self._tolerated, self._tolerated_until = 1.25 * load, now + TOLERATED_S
            self._rate, self._episode = MAX_FPS, None
        else:
            self._episode = None

    def _count(self, camera_id: str) -> None:
        now = self._monotonic()
        if now - self._window_began >= _SEEN_S:
            if self._accepted and now - self._window_began < 2 * _SEEN_S:  # a time of silence says nothing
                self._seen.append(self._share(now))
            self._accepted, self._window_began = {}, now
        self._accepted[camera_id] = self._accepted.get(camera_id, 0) + 1

    def _share(self, now: float) -> float:
        """Return what is accepted of a camera, of which three quarters of all have no more, in frames per second."""
        if now - self._window_began < _SHORTEST_S or not self._accepted:
            return 0.0
        counts = sorted(self._accepted.values())
        return counts[3 * len(counts) // 4] / (now - self._window_began)

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
        load = min(load, _MAX_LOAD)
        if self._monotonic() < self._tolerated_until:
            load /= self._tolerated
        if load > 1:
            self._calm_s = 0.0
            self._lower(load)
        else:
            if load < _OVER:
                self._episode = None
            self._calm_s += seconds
            increase = _INCREASE_PER_S * seconds * (1 - load) * (1 + self._calm_s / _CALM_S)
            self._rate = min(MAX_FPS, self._rate * (1 + min(_MAX_INCREASE, increase)))
