"""Pace: how often a camera sends while the service is overloaded."""

from __future__ import annotations

import math
import statistics
from collections import deque

from app.cameras.ledger import DropReason
from app.cameras.outcome import Fate, Outcome

QUEUE_SHARES = (0.15, 0.3)
"""Of the budget: the smallest and the largest limit of the time that frames wait for a detector; a longer wait is a
sign of overload. Where between the two the limit lies depends on the model and on the network: a slow model needs
frames that wait longer to be busy all the time, and where everything else is quick, they may."""
QUEUE_MODELS = 1.5
"""Times the model's time for a frame: the limit that keeps the model busy, between those two."""
ANSWER_SHARE = 0.6
"""Of the budget: frames may wait, between those two, for what a slow delay (the 95th percentile) leaves of it."""
SLOW_SHARE = 0.6
"""Of the budget: answers that take longer are a sign of overload too, where others came in half the time: what is
overloaded need not be the detector."""
_SAMPLES = 64
LATE_ANSWERS = 3
"""Answers of which most must be late: a single one is late by chance, on a machine with other work on it or over a
radio link. Cameras that slowed down for each such answer sent half of what the service could carry."""
_CONGESTED = (DropReason.DEADLINE, DropReason.OVERLOADED)
_DECREASE = 0.2
"""Of its rate: what a camera gives up for a wait of twice the limit, and proportionally less for a shorter one."""
_MAX_DECREASE = 0.15
_INCREASE_FPS_PER_S = 0.5
_INCREASE_SHARE_PER_S = 0.05
"""Of its full rate, where that is more: a fast camera comes back as soon as a slow one."""
_CALM_S = 4.0
"""Without a sign of overload for so long, the increase doubles: with capacity to spare, a fast camera recovers soon."""
_MAX_INTERVAL_S = 2.0
"""A camera without answers for longer gains no more than this interval gives."""
_MIN_SHARE = 0.1
"""Of its full rate: a camera never sends less often."""


class Pace:
    """Keeps the service's queue short by sending less often: frames that are not sent are superseded at no cost.

    Where the service says in its answers how often a camera may send at most (``max_fps``), that is its rate. The rest
    is for services that do not say, and for the time in which there is no answer:

    Additive increase, multiplicative decrease, on the time that frames waited for a detector, and on the time that most
    of the last answers took. A delay that is always long is no sign of overload, and slows no camera. Every camera does
    the same, so their rates become equal (Chiu and Jain, "Analysis of the increase and decrease algorithms for
    congestion avoidance in computer networks", Computer Networks and ISDN Systems 17, 1989). At its full rate a camera
    does not wait at all.

    The increase grows with the time since the last sign of overload (as CUBIC's does: Ha, Rhee and Xu, "CUBIC: a new
    TCP-friendly high-speed TCP variant", ACM SIGOPS Operating Systems Review 42(5), 2008), and the decrease with the
    wait. A slowed camera waits between an answer and its next frame rather than between frames: so a service that
    stalls for a moment gets fewer frames in that moment already. (These and the constants were chosen by a simulation
    of 8 to 32 cameras and two detectors: ``tests/unit/cameras/test_pace_simulated.py``.)
    """

    def __init__(self, fps: float, budget_s: float) -> None:
        """Begin at the full rate.

        Args:
            fps: frames sampled per second.
            budget_s: from capture to Kafka, seconds.
        """
        self._fps = fps
        self._budget_s = budget_s
        self._round_trips: deque[float] = deque(maxlen=_SAMPLES)
        self._delays: deque[float] = deque(maxlen=_SAMPLES)
        self._lateness: deque[float] = deque(maxlen=LATE_ANSWERS)
        self._rate = fps
        self._last_answer: float | None = None
        self._calm_s = 0.0
        self._next = -math.inf
        self._credit_s = 0.0
        """By how much the last frame was sent later than it might have been, for want of a newer one."""
        self._told = False
        """Whether the rate is the one that the service named."""

    @property
    def rate(self) -> float:
        """Frames per second that may be sent now."""
        return self._rate

    @property
    def slowed(self) -> bool:
        """Whether fewer frames are sent than sampled."""
        return self._rate < self._fps

    def set_budget(self, budget_s: float) -> None:
        """Use another latency budget, in seconds, from now on."""
        self._budget_s = budget_s

    def send(self, now: float) -> None:
        """Record that a frame is sent; ``now`` is in monotonic seconds."""
        # Frames come on a grid: what one is sent too late the next may come too soon, or a rate between two that the
        # grid allows would never be reached.
        self._credit_s = min(1 / self._fps, max(0.0, now - self._next)) if self._told else 0.0
        self._next = now + 1 / self._rate - self._credit_s

    def wait_s(self, now: float) -> float:
        """Return the seconds until the next frame may be sent; 0: now."""
        return max(0.0, self._next - now) if self.slowed else 0.0

    def record(self, outcome: Outcome, now: float, round_trip_s: float) -> None:
        """Record the outcome of a frame, which came at ``now``, ``round_trip_s`` seconds after it was sent."""
        interval_s = 0.0 if self._last_answer is None else min(_MAX_INTERVAL_S, now - self._last_answer)
        excess = self._excess(outcome, round_trip_s)
        if outcome.max_fps is not None:
            self._last_answer, self._calm_s = now, 0.0
            self._lateness.clear()
            self._rate, self._told = min(self._fps, outcome.max_fps), True
        elif excess > 0:
            self._last_answer, self._calm_s = now, 0.0
            self._told = False
            self._rate = max(_MIN_SHARE * self._fps, self._rate * (1 - min(_MAX_DECREASE, _DECREASE * excess)))
        elif outcome.fate is Fate.ACCEPTED:
            self._last_answer = now
            self._calm_s += interval_s
            fps_per_s = max(_INCREASE_FPS_PER_S, _INCREASE_SHARE_PER_S * self._fps) * (1 + self._calm_s / _CALM_S)
            self._told = False
            self._rate = min(self._fps, self._rate + fps_per_s * interval_s)
        if self.slowed:
            usual_s = statistics.median(self._round_trips) if self._round_trips else round_trip_s
            self._next = max(self._next, now + 1 / self._rate - usual_s - self._credit_s)

    def _excess(self, outcome: Outcome, round_trip_s: float) -> float:
        """Return by how much answers are over their limit, as a share of the limit; 0 or less: they are within."""
        if outcome.response is None:
            return self._late(math.inf) - 1 if outcome.reason in _CONGESTED else 0.0
        self._round_trips.append(round_trip_s)
        latency = outcome.response.latency
        self._delays.append(max(0.0, round_trip_s - latency.queue_ms / 1000))
        queued = latency.queue_ms / 1000 / self._allowed_queue_s(latency.inference_ms / 1000)
        slow = round_trip_s / (SLOW_SHARE * self._budget_s) if round_trip_s > 2 * min(self._round_trips) else 0.0
        return max(queued, self._late(slow)) - 1

    def _late(self, lateness: float) -> float:
        """Record how late an answer is, as a multiple of the limit, and return what most of the last ones are."""
        self._lateness.append(lateness)
        return sorted(self._lateness)[(len(self._lateness) - 1) // 2]

    def _allowed_queue_s(self, inference_s: float) -> float:
        min_s, max_s = (share * self._budget_s for share in QUEUE_SHARES)
        delays = sorted(self._delays)
        spare_s = ANSWER_SHARE * self._budget_s - delays[len(delays) * 19 // 20]
        return min(max_s, max(min_s, QUEUE_MODELS * inference_s, spare_s))
