"""Scaler: from the demand and the service time to a number of replicas; up at once, down slowly, never to and fro.

Three rules keep it still. Up and down have thresholds of their own, so that noise around one never reaches the other.
Down goes only to what would have been enough at every moment of the last ``downscale_delay_s`` (the "stabilization
window" of Kubernetes' horizontal autoscaler). And the demand is what is offered, which does not change with the number
of replicas, unlike queues and arrivals, which do.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from app.core.service_time import ServiceTime
from app.scaling.demand import Demand
from app.scaling.numbers import ScalingNumbers

_BUSY_ENOUGH = 0.5
"""Late frames call for more replicas only where those there are are at work for this share of the time."""
_LEARNED_MARGIN = 0.95
"""What a replica is trusted with, of a load that was seen to be too much."""
_SMOOTHING_S = 10.0
"""Time constant of the service time's running mean."""
_RECOVERED = 1.5
"""Once the measured capacity has grown by this factor, what was learned about too much is forgotten."""


@dataclass(frozen=True)
class Situation:
    """All that a decision is made of."""

    now: float
    """Seconds, by a clock that does not go back."""
    running: int
    """Replicas that take work."""
    target: int
    """Replicas that there are to be, by the last decision."""
    fewest: int
    most: int
    ongoing: float
    """Calls (batches) under way and waiting, by Serve's own count."""
    demand: Demand | None
    """None: not known now."""
    service: ServiceTime | None
    """None: no batch ran lately."""


@dataclass(frozen=True)
class Decision:
    """How many replicas there are to be, and why."""

    replicas: int
    reason: str


class Scaler:
    """Decides again and again; it keeps what it needs to stay calm from one decision to the next."""

    def __init__(self, numbers: ScalingNumbers) -> None:
        self._numbers = numbers
        self._service: ServiceTime | None = None
        self._measured_at = -math.inf
        self._saw_at: float | None = None
        self._target: int | None = None
        self._changed_at = -math.inf
        self._above_since: float | None = None
        self._late_since: float | None = None
        self._peaks: deque[tuple[float, int]] = deque()
        self._watching_since: float | None = None
        self._ceiling_fps = math.inf
        self._ceiling_capacity = 0.0

    def decide(self, situation: Situation) -> Decision:
        """Give the number of replicas that there are to be now."""
        self._follow(situation)
        self._measure(situation)
        if situation.demand is None or self._service is None:
            return self._blind(situation)
        self._saw_at = situation.now
        self._learn(situation, situation.demand)
        return self._sighted(situation, situation.demand, self._service)

    def _measure(self, situation: Situation) -> None:
        """Follow the service time slowly: what batching gains is a small difference of noisy numbers."""
        new, old = situation.service, self._service
        if new is None:
            return
        weight = 1.0 if old is None else 1 - math.exp((self._measured_at - situation.now) / _SMOOTHING_S)
        self._measured_at = situation.now
        self._service = new if old is None else old.towards(new, weight)

    def _follow(self, situation: Situation) -> None:
        if self._saw_at is None:
            self._saw_at = situation.now
        if situation.target != self._target:
            if self._target is not None:
                self._changed_at = situation.now
            self._target = situation.target

    def _blind(self, situation: Situation) -> Decision:
        """Decide without numbers: hold, later follow Serve's own queue; never down, for nobody knows."""
        self._watching_since = None
        self._peaks.clear()
        assert self._saw_at is not None
        if situation.demand is not None and situation.demand.offered_fps and not situation.target:
            return Decision(_within(situation, 1), "frames are offered, and no replica is there")
        if situation.now - self._saw_at < self._numbers.blind_after_s:
            return Decision(_within(situation, situation.target), "nothing is known yet")
        by_queue = _ceil(situation.ongoing / self._numbers.ongoing_per_replica)
        wanted = self._when_it_lasts(situation, max(situation.target, by_queue))
        return Decision(_within(situation, wanted), f"no numbers; {situation.ongoing:.1f} calls under way")

    def _sighted(self, situation: Situation, demand: Demand, service: ServiceTime) -> Decision:
        up = self._needed(situation, demand, self._numbers.utilisation_up)
        enough = self._enough_lately(situation, self._needed(situation, demand, self._numbers.utilisation_down))
        reason = (
            f"{demand.offered_fps:.1f} frames/s offered by {demand.cameras:.0f} cameras, "
            f"{self._capacity(demand, service, max(1, situation.target)):.1f} a replica, "
            f"{demand.late_share:.0%} late"
        )
        wanted = self._when_it_lasts(situation, max(situation.target, up))
        if wanted == situation.target and enough is not None and enough < situation.target:
            wanted = enough
        return Decision(_within(situation, wanted), reason)

    def _when_it_lasts(self, situation: Situation, wanted: int) -> int:
        """Go up only to what has been wanted for a while: a hiccup is no rush."""
        if wanted <= situation.target:
            self._above_since = None
            return situation.target
        if self._above_since is None:
            self._above_since = situation.now
        lasted = situation.now - self._above_since >= self._numbers.upscale_delay_s
        return wanted if lasted else situation.target

    def _enough_lately(self, situation: Situation, enough: int) -> int | None:
        """Give the most that was needed at any moment of the last while; none where it was not watched so long."""
        now, delay = situation.now, self._numbers.downscale_delay_s
        if self._watching_since is None:
            self._watching_since = now
        while self._peaks and self._peaks[-1][1] <= enough:
            self._peaks.pop()
        self._peaks.append((now, enough))
        while self._peaks[0][0] < now - delay:
            self._peaks.popleft()
        return self._peaks[0][1] if now - self._watching_since >= delay else None

    def _needed(self, situation: Situation, demand: Demand, utilisation: float) -> int:
        """Give the fewest replicas whose capacity, so much of it in use, is the frames offered."""
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
        """Frames per second of one of so many replicas, by the batches that time and cameras allow."""
        within_time = (
            (self._numbers.batch_time_ms / 1000 - service.fixed_s) / service.frame_s if service.frame_s else math.inf
        )
        # That many frames there are to gather: a camera has one under way, or as many as its rate asks for meanwhile.
        under_way = max(demand.cameras, demand.offered_fps * self._numbers.batch_time_ms / 1000)
        batch = max(1.0, min(demand.max_batch, within_time, under_way / replicas))
        return batch / max(service.batch_s(batch), 1e-6)

    def _learn(self, situation: Situation, demand: Demand) -> None:
        """Trust late frames more than any estimate: remember the load a replica that is too much."""
        assert self._service is not None
        capacity = self._capacity(demand, self._service, max(1, situation.running))
        if capacity > _RECOVERED * self._ceiling_capacity:
            self._ceiling_fps = math.inf
        busy = situation.service.busy if situation.service else 0.0
        settled = (
            situation.running == situation.target > 0 and situation.now - self._changed_at >= self._numbers.settle_s
        )
        if not settled or busy < _BUSY_ENOUGH or demand.late_share <= self._numbers.late_share:
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
