"""How many detector replicas the offered frames need: measured where they pass, decided in one place.

The ingress measures the demand, each detector replica its service time (``app/core/service_time.py``); both are plain
numbers, which Serve carries to its controller, where the :class:`Scaler` decides. Nothing here knows Ray.
"""

from __future__ import annotations

from app.scaling.demand import Demand, DemandMeter, join_demands
from app.scaling.numbers import ScalingNumbers
from app.scaling.scaler import Decision, Scaler, Situation

__all__ = [
    "Decision",
    "Demand",
    "DemandMeter",
    "Scaler",
    "ScalingNumbers",
    "Situation",
    "join_demands",
]
