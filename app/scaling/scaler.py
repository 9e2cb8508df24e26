"""Scaler: from the demand and the service time to a number of replicas; up at once, down slowly, without oscillation.

Three rules keep it stable. Up and down have separate thresholds, so that noise around one never reaches the other.
The number goes down only to what would have been enough at every moment of the last ``downscale_delay_s`` (the
"stabilization window" of Kubernetes' horizontal autoscaler). And the demand is the frames offered, which do not change
with the number of replicas, unlike queues and arrivals.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from app.core.service_time import ServiceTime
from app.scaling.demand import Demand
from app.scaling.numbers import ScalingNumbers

_MIN_BUSY = 0.5
"""Late frames ask for more replicas only where those that run are busy for this share of the time."""
_LEARNED_MARGIN = 0.95
"""Share of a load that proved too much, which a replica is still given."""
_SMOOTHING_S = 10.0
"""Time constant of the service time's running mean."""
_RECOVERED = 1.5
"""Once the measured capacity has grown by this factor, the load that proved too much is forgotten."""


@dataclass(frozen=True)
class Situation:
    """Everything that a decision depends on."""

    now: float
    """Monotonic seconds."""
    running: int
    """Replicas that accept calls."""
    target: int
    """Number of replicas by the last decision."""
    fewest: int
    """Fewest replicas that are allowed."""
    most: int
    """Most replicas that are allowed."""
    ongoing: float
    """Calls (batches) that run or wait, by Serve's own count."""
    demand: Demand | None
    """``None`` where it is not known now."""
    service: ServiceTime | None
    """``None`` where no batch ran in the last seconds."""


@dataclass(frozen=True)
class Decision:
    """The number of replicas, and the reason for it."""

    replicas: int
    reason: str


class Scaler:
    """Decides repeatedly; between decisions it keeps the state that makes it stable."""

    def __init__(self, numbers: ScalingNumbers) -> None:
        self._numbers = numbers
        self._service: ServiceTime | None = None
        self._measured_at = -math.inf
        self._informed_at: float | None = None
        self._target: int | None = None
        self._changed_at = -math.inf
        self._above_since: float | None = None
        self._late_since: float | None = None
        self._peaks: deque[tuple[float, int]] = deque()
        self._known_since: float | None = None
        self._ceiling_fps = math.inf
        self._ceiling_capacity = 0.0

    def decide(self, situation: Situation) -> Decision:
        """Return the number of replicas for a situation."""
        self._track_target(situation)
        self._smooth_service_time(situation)
        if situation.demand is None or self._service is None:
            return self._decide_without_numbers(situation)
        self._informed_at = situation.now
        self._learn(situation, situation.demand)
        return self._decide_by_numbers(situation, situation.demand, self._service)

    def _smooth_service_time(self, situation: Situation) -> None:
        """Update the running mean of the service time: what batching gains is a small difference of noisy numbers."""
        new, old = situation.service, self._service
        if new is None:
            return
        weight = 1.0 if old is None else 1 - math.exp((self._measured_at - situation.now) / _SMOOTHING_S)
        self._measured_at = situation.now
        self._service = new if old is None else old.towards(new, weight)

    def _track_target(self, situation: Situation) -> None:
        if self._informed_at is None:
            self._informed_at = situation.now
        if situation.target != self._target:
            if self._target is not None:
                self._changed_at = situation.now
            self._target = situation.target

    def _decide_without_numbers(self, situation: Situation) -> Decision:
        """Hold the number; later follow Serve's own queue. Never go down, since the demand is unknown."""
        self._known_since = None
        self._peaks.clear()
        assert self._informed_at is not None
        if situation.demand is not None and situation.demand.offered_fps and not situation.target:
            return Decision(_within(situation, 1), "frames are offered, and no replica runs")
        if situation.now - self._informed_at < self._numbers.blind_after_s:
            return Decision(_within(situation, situation.target), "nothing is known yet")
        by_queue = _ceil(situation.ongoing / self._numbers.ongoing_per_replica)
        desired = self._if_sustained(situation, max(situation.target, by_queue))
        return Decision(_within(situation, desired), f"no numbers; {situation.ongoing:.1f} calls ongoing")

    def _decide_by_numbers(self, situation: Situation, demand: Demand, service: ServiceTime) -> Decision:
        up = self._needed(situation, demand, self._numbers.utilisation_up)
        enough = self._enough_recently(situation, self._needed(situation, demand, self._numbers.utilisation_down))
        reason = (
            f"{demand.offered_fps:.1f} frames/s offered by {demand.cameras:.0f} cameras, "
            f"{self._capacity(demand, service, max(1, situation.target)):.1f} a replica, "
            f"{demand.late_share:.0%} late"
        )
        desired = self._if_sustained(situation, max(situation.target, up))
        if desired == situation.target and enough is not None and enough < situation.target:
            desired = enough
        return Decision(_within(situation, desired), reason)

    def _if_sustained(self, situation: Situation, desired: int) -> int:
        """Return a higher number only once a higher number has been desired for a while."""
        if desired <= situation.target:
            self._above_since = None
            return situation.target
        if self._above_since is None:
            self._above_since = situation.now
        lasted = situation.now - self._above_since >= self._numbers.upscale_delay_s
        return desired if lasted else situation.target

    def _enough_recently(self, situation: Situation, enough: int) -> int | None:
        """Return the largest number needed in the last ``downscale_delay_s``; ``None`` where that is not known."""
        now, delay = situation.now, self._numbers.downscale_delay_s
        if self._known_since is None:
            self._known_since = now
        while self._peaks and self._peaks[-1][1] <= enough:
            self._peaks.pop()
        self._peaks.append((now, enough))
        while self._peaks[0][0] < now - delay:
            self._peaks.popleft()
        return self._peaks[0][1] if now - self._known_since >= delay else None

    def _needed(self, situation: Situation, demand: Demand, utilisation: float) -> int:
        """Return the fewest replicas that take the frames offered with at most ``utilisation`` of their capacity."""
        assert self._service is not None
        if not demand.offered_fps:
            return situation.fewest
        trusted = self._ceiling_fps * utilisation / self._numbers.utilisation_up
        for replicas in range(max(1, situation.fewest), situation.most):
            each = min(self._capacity(demand, self._service, replicas) * utilisation, trusted)
            if replicas * each >= demand.offered_fps:
                return replicas
        return situation.most

    def _capacity(self, demand: Demand, service: ServiceTime, replicas: int) -> float:
        """Return the frames per second of each of so many replicas, by the batches that time and cameras allow."""
        within_time = (
            (self._numbers.batch_time_ms / 1000 - service.fixed_s) / service.frame_s if service.frame_s else math.inf
        )
        # Frames that a batch can be made of: a camera has one in flight, or as many as its rate produces meanwhile.
        in_flight = max(demand.cameras, demand.offered_fps * self._numbers.batch_time_ms / 1000)
        batch = max(1.0, min(demand.max_batch, within_time, in_flight / replicas))
        return batch / max(service.batch_s(batch), 1e-6)

    def _learn(self, situation: Situation, demand: Demand) -> None:
        """Trust late frames more than any estimate: remember the load per replica that was too much."""
        assert self._service is not None
        capacity = self._capacity(demand, self._service, max(1, situation.running))
        if capacity > _RECOVERED * self._ceiling_capacity:
            self._ceiling_fps = math.inf
        busy = situation.service.busy if situation.service else 0.0
        settled = (
            situation.running == situation.target > 0 and situation.now - self._changed_at >= self._numbers.settle_s
        )
        if not settled or busy < _MIN_BUSY or demand.late_share <= self._numbers.late_share:
            self._late_since = None
            return
        if self._late_since is None:
            self._late_since = situation.now
        if situation.now - self._late_since >= self._numbers.settle_s:
            self._ceiling_fps = min(self._ceiling_fps, _LEARNED_MARGIN * demand.offered_fps / situation.running)
            self._ceiling_capacity = capacity


def _within(situation: Situation, replicas: int) -> int:
    return max(situation.fewest, min(situation.most, replicas))


def _ceil(number: float) -> int:
    return math.ceil(number - 1e-9)
