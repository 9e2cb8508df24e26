"""The autoscaling policy that ``serve_config.yaml`` names: a shell around ``app.scaling``, in Serve's controller.

It is a policy of the application, not of the detector's deployment, because only an application's policy gets the
numbers of the ingress beside those of the detectors. Serve calls it about ten times a second and passes it the numbers
of ``record_autoscaling_stats``, a second old at most.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from ray.serve.config import AutoscalingContext

from app.core.service_time import ServiceTime, join_service_times
from app.errors import SettingsError
from app.scaling import Demand, Scaler, ScalingNumbers, Situation, join_demands

logger = logging.getLogger("ray.serve")

INGRESS, DETECTOR = "DetectionIngress", "ObjectDetector"
FRESH_S = 5.0
"""Numbers of a replica that are older count as missing."""


class OfferedFrames:
    """Requests as many detector replicas as the offered frames need.

    It never raises: an error here would stop Serve's controller from managing any application.
    """

    def __init__(self, **numbers: object) -> None:
        """Parse the numbers of ``policy_kwargs``; the application's builder has validated them before."""
        self._scaler: Scaler | None = None
        try:
            self._scaler = Scaler(ScalingNumbers.parse(numbers))
        except SettingsError as error:
            logger.error("autoscaling is off: %s", error)
        self._failing = False

    def __call__(self, contexts: Mapping[Any, AutoscalingContext]) -> tuple[dict[Any, int], dict[Any, dict[str, Any]]]:
        """Return the number of detector replicas by Serve's own key, and no number of another deployment."""
        detector = next((key for key in contexts if key.name == DETECTOR), None)
        if detector is None:
            return {}, {}
        return {detector: self._replicas(contexts, contexts[detector])}, {}

    def _replicas(self, contexts: Mapping[Any, AutoscalingContext], detector: AutoscalingContext) -> int:
        target: int = detector.target_num_replicas
        if self._scaler is None:
            return target
        try:
            decision = self._scaler.decide(_situation(contexts, detector))
            self._failing = False
        except Exception:
            if not self._failing:  # once, not ten times a second
                logger.exception("the number of detector replicas cannot be decided; it stays at %d", target)
            self._failing = True
            return target
        if decision.replicas != target:
            logger.info("%d detector replicas instead of %d: %s", decision.replicas, target, decision.reason)
        return decision.replicas


def _situation(contexts: Mapping[Any, AutoscalingContext], detector: AutoscalingContext) -> Situation:
    ingresses = [context for key, context in contexts.items() if key.name == INGRESS]
    demands = [Demand.from_stats(stats) for ingress in ingresses for stats in _fresh_stats(ingress)]
    services = [ServiceTime.from_stats(stats) for stats in _fresh_stats(detector)]
    return Situation(
        now=time.monotonic(),
        running=detector.current_num_replicas,
        target=detector.target_num_replicas,
        fewest=detector.capacity_adjusted_min_replicas,
        most=detector.capacity_adjusted_max_replicas,
        ongoing=detector.total_num_requests,
        demand=join_demands([demand for demand in demands if demand is not None]),
        service=join_service_times([service for service in services if service is not None]),
    )


def _fresh_stats(context: AutoscalingContext) -> list[dict[str, float]]:
    """Return each replica's latest numbers, without replicas that stopped reporting."""
    stats: dict[Any, dict[str, float]] = {}
    for name, replicas in (context.raw_metrics or {}).items():
        for replica, series in replicas.items():
            # Compares the clocks of two machines, as Serve's own averages do.
            if series and abs(time.time() - series[-1].timestamp) <= FRESH_S:
                stats.setdefault(replica, {})[name] = series[-1].value
    return list(stats.values())
