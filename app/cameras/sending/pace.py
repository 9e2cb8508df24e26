"""Pace: how often a camera sends while the service is busier than it can be."""

from __future__ import annotations

import math
import statistics
from collections import deque

from app.cameras.ledger import DropReason
from app.cameras.outcome import Fate, Outcome

QUEUE_SHARES = (0.15, 0.3)
"""Of the budget: frames that wait longer for a detector are a sign that there are too many. Which of the two, or what
between them, is for the model and the way: to be busy all the time, a slow model must have frames waiting for longer;
and where all else is done early, they may."""
QUEUE_MODELS = 1.5
"""Times what the model takes for a frame: so long others may wait meanwhile, between those two."""
ANSWER_SHARE = 0.6
"""Of the budget: frames may wait, between those two, for what a slow way (the 95th percentile) leaves of it."""
SLOW_SHARE = 0.6
"""Of the budget: answers that take so long are such a sign too, where others came in half the time: what is too busy
need not be the detector."""
_REMEMBERED = 64
_CONGESTED = (DropReason.DEADLINE, DropReason.OVERLOADED)
_BACK = 0.2
"""Of its rate: what a camera gives up for a wait of twice what is allowed, and as much less for a shorter one."""
_MOST_BACK = 0.15
_FORTH_FPS_PER_S = 0.5
_CALM_S = 4.0
"""Without a sign of load for so long, a camera gains twice as much: where there is room, a fast one is soon back."""
_LONGEST_REST_S = 2.0
"""A camera that was silent for longer gains no more than this gives."""
_LEAST = 0.1
"""Of its rate: as often it asks however busy the service is."""


class Pace:
    """Keeps the service's queue short by sending less often: what is left out is superseded before it costs anything.

    Additive increase, multiplicative decrease, on the time that frames waited for a detector and on the time that their
    answers took. A way that is always long is no sign of anything, and slows no camera. Every camera does the
    same, so they come to equal rates (Chiu and Jain, "Analysis of the increase and decrease algorithms for congestion
    avoidance in computer networks", Computer Networks and ISDN Systems 17, 1989). At its full rate a camera is not
    slowed at all.

    The increase grows with the time since the last sign of load (as CUBIC's does: Ha, Rhee and Xu, "CUBIC: a new
    TCP-friendly high-speed TCP variant", ACM SIGOPS Operating Systems Review 42(5), 2008), and the decrease with the
    wait. A slowed camera rests between an answer and its next frame rather than between frames: so a service that
    falters for a moment is asked less in that moment already. (A simulation of 8 to 32 cameras at two lanes chose
    these, and the constants: ``tests/unit/cameras/test_pace_simulated.py``.)
    """

    def __init__(self, fps: float, budget_s: float) -> None:
        """Make a pace.

        Args:
            fps: frames sampled per second.
            budget_s: from capture to Kafka, seconds.
        """
        self._fps = fps
        self._budget_s = budget_s
        self._round_trips: deque[float] = deque(maxlen=_REMEMBERED)
        self._ways: deque[float] = deque(maxlen=_REMEMBERED)
        self._rate = fps
        self._noted: float | None = None
        self._calm_s = 0.0
        self._next = -math.inf

    @property
    def rate(self) -> float:
        """Frames per second that may be sent now."""
        return self._rate

    @property
    def slowed(self) -> bool:
        """Whether fewer frames are sent than sampled."""
        return self._rate < self._fps

    def rebudget(self, budget_s: float) -> None:
        """Measure by another budget, in seconds."""
        self._budget_s = budget_s

    def send(self, now: float) -> None:
        """A frame is sent; ``now`` is monotonic seconds."""
        self._next = now + 1 / self._rate

    def wait_s(self, now: float) -> float:
        """Give the seconds until the next frame may be sent; 0: now."""
        return max(0.0, self._next - now) if self.slowed else 0.0

    def note(self, outcome: Outcome, now: float, round_trip_s: float) -> None:
        """Hear what became of a frame, ``round_trip_s`` seconds after it was sent."""
        rest_s = 0.0 if self._noted is None else min(_LONGEST_REST_S, now - self._noted)
        excess = self._excess(outcome, round_trip_s)
        if excess > 0:
            self._noted, self._calm_s = now, 0.0
            self._rate = max(_LEAST * self._fps, self._rate * (1 - min(_MOST_BACK, _BACK * excess)))
        elif outcome.fate is Fate.ACCEPTED:
            self._noted = now
            self._calm_s += rest_s
            self._rate = min(self._fps, self._rate + _FORTH_FPS_PER_S * (1 + self._calm_s / _CALM_S) * rest_s)
        if self.slowed:
            usual_s = statistics.median(self._round_trips) if self._round_trips else round_trip_s
            self._next = max(self._next, now + 1 / self._rate - usual_s)

    def _excess(self, outcome: Outcome, round_trip_s: float) -> float:
        """Tell how far over what is allowed an answer is, as a share of that; 0 or less: it is not."""
        if outcome.response is None:
            return math.inf if outcome.reason in _CONGESTED else 0.0
        self._round_trips.append(round_trip_s)
        latency = outcome.response.latency
        self._ways.append(max(0.0, round_trip_s - latency.queue_ms / 1000))
        queued = latency.queue_ms / 1000 / self._allowed_queue_s(latency.inference_ms / 1000)
        slow = round_trip_s / (SLOW_SHARE * self._budget_s) if round_trip_s > 2 * min(self._round_trips) else 0.0
        return max(queued, slow) - 1

    def _allowed_queue_s(self, inference_s: float) -> float:
        least_s, most_s = (share * self._budget_s for share in QUEUE_SHARES)
        ways = sorted(self._ways)
        spare_s = ANSWER_SHARE * self._budget_s - ways[len(ways) * 19 // 20]
        return min(most_s, max(least_s, QUEUE_MODELS * inference_s, spare_s))
