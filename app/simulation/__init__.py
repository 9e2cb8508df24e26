"""The simulator."""

from app.simulation.spec import StreetSpec
from app.simulation.sprites import LABELS
from app.simulation.street import GroundTruth, Street, StreetFrame

__all__ = ["LABELS", "GroundTruth", "Street", "StreetFrame", "StreetSpec"]
