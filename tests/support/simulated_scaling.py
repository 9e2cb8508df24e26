"""A service in discrete time: cameras, replicas that take seconds to start, measurements that are late and noisy."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from app.core.service_time import ServiceTime
from app.scaling import Demand, Scaler, ScalingNumbers, Situation

NUMBERS = ScalingNumbers(
    batch_time_ms=50,
    utilisation_up=0.75,
    utilisation_down=0.55,
    late_share=0.1,
    upscale_delay_s=1,
    downscale_delay_s=60,
    settle_s=6,
    blind_after_s=10,
    ongoing_per_replica=1.2,
)


@dataclass
class Simulation:
    """One service, its scaler and what became of them, tick by tick."""

    offered: Callable[[float], tuple[float, float]]
    """Time in seconds to (frames per second, cameras)."""
    fixed_s: float = 0.0
    frame_s: float = 0.075
    start_s: float = 4.0
    stale_s: float = 1.5
    """How old the measurements are that the scaler sees."""
    noise: float = 0.0
    """Largest relative error of a measurement."""
    hidden: float = 1.0
    """What a frame really costs, as a multiple of what is measured."""
    fewest: int = 1
    most: int = 12
    tick_s: float = 0.25
    seed: int = 7
    numbers: ScalingNumbers = NUMBERS
    targets: list[int] = field(default_factory=list)
    late: list[float] = field(default_factory=list)

    def run(self, seconds: float) -> list[int]:
        """Return the target at every tick."""
        chance = random.Random(self.seed)
        scaler = Scaler(self.numbers)
        target, running, starting = self.fewest, self.fewest, deque[float]()
        seen: deque[tuple[float, Demand, ServiceTime]] = deque()
        for tick in range(round(seconds / self.tick_s)):
            now = tick * self.tick_s
            while starting and starting[0] <= now:
                starting.popleft()
                running += 1
            fps, cameras = self.offered(now)
            cost = self.hidden * (self.fixed_s + self.frame_s)
            use = fps * cost / max(1, running)
            late = max(0.0, 1 - 0.95 / use) if use > 0.95 else 0.0
            self.late.append(late)
            shaken = fps * (1 + chance.uniform(-self.noise, self.noise))
            slower = 1 + chance.uniform(-self.noise, self.noise)
            seen.append(
                (
                    now,
                    Demand(shaken, shaken, 0.0, cameras, max(shaken, 1e-9), late * max(shaken, 1e-9), 16),
                    ServiceTime(self.fixed_s * slower, self.frame_s * slower, min(1.0, use)),
                )
            )
            while len(seen) > 1 and seen[1][0] <= now - self.stale_s:
                seen.popleft()
            known = seen[0] if seen[0][0] <= now - self.stale_s else None
            target = self._apply(
                scaler.decide(
                    Situation(
                        now=now,
                        running=running,
                        target=target,
                        fewest=self.fewest,
                        most=self.most,
                        ongoing=min(2.0 * running, use),
                        demand=known[1] if known else None,
                        service=known[2] if known else None,
                    )
                ).replicas,
                starting,
                running,
                now,
            )
            running = min(running, target)
            while starting and running + len(starting) > target:
                starting.pop()
            self.targets.append(target)
        return self.targets

    def _apply(self, wanted: int, starting: deque[float], running: int, now: float) -> int:
        for _ in range(wanted - running - len(starting)):
            starting.append(now + self.start_s)
        return wanted


def turns(targets: Sequence[float]) -> int:
    """Count the times that a row of numbers turned from rising to falling or back."""
    moves = [b - a for a, b in pairwise(targets) if a != b]
    return sum((a > 0) != (b > 0) for a, b in pairwise(moves))
