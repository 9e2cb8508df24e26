"""FlowControl: when a camera may send its next frame, and which frame is still worth sending."""

from __future__ import annotations

import asyncio
import contextlib
import math

from app.cameras.frame import SampledFrame
from app.cameras.ledger import DropReason
from app.cameras.outcome import Fate, Outcome
from app.cameras.sending.budget import LatencyBudget
from app.cameras.sending.in_flight import InFlightWindow
from app.cameras.sending.pace import Pace
from app.core.backoff import Backoff
from app.core.clock import Clock

FRESH_SHARE = 0.25
"""Of the budget: a frame not older than this is sent, however long answers take."""
MAX_WAIT_SHARE = 0.1
"""Of the budget: a frame of a slowed camera that has waited longer to be sent is left for the next one, which will not
have to wait."""
ROUND_TRIP_MARGIN = 1.3
"""Times the last round trip is what an older frame must have left: half of all round trips are longer than the last."""


class FlowControl:
    """Limits what a camera has in flight and how often it sends, and skips frames that would be answered too late.

    Used on one event loop, but for ``held_back``.
    """

    def __init__(
        self,
        *,
        window: InFlightWindow,
        pace: Pace,
        resend: Backoff,
        budget: LatencyBudget,
        stopping: asyncio.Event,
        clock: Clock,
    ) -> None:
        """Wire it.

        Args:
            window: how many frames may be in flight.
            pace: how often one may be sent.
            resend: delays while no service is there.
            budget: the latency budget of the camera's frames.
            stopping: once set, nothing more is sent, and no delay is waited for.
            clock: the camera's.
        """
        self._window = window
        self._pace = pace
        self._resend = resend
        self._budget = budget
        self._stopping = stopping
        self._clock = clock
        self._not_before = -math.inf
        self._ready_at = -math.inf
        """Since when another frame may be sent."""
        self._held_until = -math.inf
        self._round_trip_s: float | None = None

    @property
    def max_in_flight(self) -> int:
        """Frames that may be in flight now."""
        return self._window.size

    @property
    def stopping(self) -> bool:
        """Whether nothing more is to be sent."""
        return self._stopping.is_set()

    @property
    def round_trip_ms(self) -> float | None:
        """From sending to the answer, of the last frame that was sent."""
        return None if self._round_trip_s is None else self._round_trip_s * 1000

    def set_budget(self, budget_s: float) -> None:
        """Use another latency budget, in seconds, from now on."""
        self._budget.seconds = budget_s
        self._pace.set_budget(budget_s)

    def remaining_s(self, captured: float) -> float:
        """Return the seconds that are left of the budget of a frame captured at ``captured`` monotonic seconds."""
        return self._budget.remaining_s(captured)

    def held_back(self, sampled: SampledFrame) -> bool:
        """Return whether a frame that was not sent had to wait because the service is busy; thread-safe."""
        return sampled.captured < self._held_until

    async def wait(self) -> None:
        """Wait until pace and backoff allow another frame, or until the camera stops."""
        now = self._clock.monotonic()
        resend_s, pace_s = self._not_before - now, self._pace.wait_s(now)
        if pace_s > max(0.0, resend_s):
            self._held_until = now + pace_s
        await self._pause(max(resend_s, pace_s))
        self._ready_at = self._clock.monotonic()

    def is_worth_sending(self, sampled: SampledFrame) -> bool:
        """Return whether a frame can still be answered in time, or is as fresh as frames get."""
        age_s, budget_s = self._budget.age_s(sampled.captured), self._budget.seconds
        remaining_s = budget_s - age_s
        if remaining_s <= 0:
            return True  # an expired frame is taken too, to be counted as what it is
        if self._pace.slowed:
            return sampled.captured >= self._ready_at - budget_s * MAX_WAIT_SHARE
        return age_s <= budget_s * FRESH_SHARE or remaining_s >= ROUND_TRIP_MARGIN * (self._round_trip_s or 0.0)

    def start(self) -> None:
        """Record that a frame is taken, to be encoded and sent."""
        self._pace.send(self._clock.monotonic())

    def record_answer(self, outcome: Outcome, sent: float, answered: float) -> None:
        """Record the outcome of a frame that was sent, with the monotonic seconds of sending and answer."""
        self._round_trip_s = round_trip_s = answered - sent
        if outcome.response is not None:
            # Where the service says how often a camera may send, its queue is kept short by that.
            queued_s = outcome.response.latency.queue_ms / 1000 if outcome.max_fps is None else 0.0
            self._window.record(round_trip_s, queued_s)
        self._pace.record(outcome, answered, round_trip_s)
        if outcome.max_fps is not None:
            self._window.fps = self._pace.rate

    def back_off(self, outcome: Outcome) -> None:
        """Delay the next frame where an outcome says that no service is there."""
        if outcome.fate is not Fate.DROPPED:
            self._resend.reset()
        elif outcome.reason is DropReason.UNAVAILABLE:
            self._not_before = self._clock.monotonic() + self._resend.next()

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)
