"""Motion: where tracks are predicted to be after some seconds, and what a match teaches about it.

Centre, width and height of a box are each a Kalman filter of their own, of a place and its velocity; all filters of all
tracks are computed at once. The velocity is an Ornstein-Uhlenbeck process: it decays and is disturbed by noise. So a
prediction in several steps is the same as in one of their length, whatever the frame rate.

Sources: R. E. Kalman, "A New Approach to Linear Filtering and Prediction Problems", 1960; R. A. Singer, "Estimating
Optimal Tracking Filter Performance for Manned Maneuvering Targets", 1970, for velocities that decay; N. Wojke and
others, "Simple Online and Realtime Tracking with a Deep Association Metric", 2017, for noise in proportion to the box.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Chosen on simulated streets (seeds 11 to 13 and 31 to 33, none of them in the benchmark) among 100 random choices.
MEMORY_S = np.array([60.0, 60.0, 0.8, 0.8])
"""Time constants of the velocities' decay, in seconds: of the centre's x and y, of width and height."""
DISTURBANCE = np.array([0.25, 0.25, 0.07, 0.07])
"""Standard deviation of a velocity's change within a second, in sizes (square roots of the box's area) a second."""
UNKNOWN_VELOCITY = np.array([1.5, 0.4, 0.4, 0.4])
"""Standard deviation of a new track's velocity, in sizes a second."""
MEASUREMENT = np.array([0.05, 0.05, 0.07, 0.07])
"""Standard deviation of a detected box, in sizes."""


@dataclass(frozen=True, eq=False)
class Motion:
    """Places, velocities and their variances of T tracks at one time each."""

    place: Floats
    """(T, 4), x and y of the centre, width, height, in pixels."""
    velocity: Floats
    """(T, 4), pixels a second."""
    variance: Floats
    """(3, T, 4): of place, of place with velocity, of velocity."""

    @classmethod
    def begin(cls, place: Floats) -> Motion:
        """Return the motion of new tracks: their places are (T, 4), their velocities unknown."""
        size2 = _size2(place)
        variance = np.zeros((3, *place.shape))
        variance[0] = MEASUREMENT**2 * size2
        variance[2] = UNKNOWN_VELOCITY**2 * size2
        return cls(place, np.zeros_like(place), variance)

    def of(self, rows: NDArray[np.intp]) -> Motion:
        """Return the motion of some of the tracks."""
        return Motion(self.place[rows], self.velocity[rows], self.variance[:, rows])

    def predict(self, seconds: Floats) -> Motion:
        """Return the motion after (T, 1) seconds, each 0 or more."""
        decay = np.exp(-seconds / MEMORY_S)
        reach = MEMORY_S * (1 - decay)
        noise = DISTURBANCE**2 * _size2(self.place)
        place2, both, velocity2 = self.variance
        half = MEMORY_S / 2 * (1 - decay * decay)
        moved = both + reach * velocity2
        variance = np.empty_like(self.variance)
        variance[0] = place2 + reach * (both + moved) + noise * MEMORY_S**2 * (seconds - 2 * reach + half)
        variance[1] = decay * moved + noise * reach * reach / 2
        variance[2] = decay * decay * velocity2 + noise * half
        return Motion(self.place + reach * self.velocity, decay * self.velocity, variance)

    def update(self, seen: Floats) -> Motion:
        """Return the motion once (T, 4) places were seen."""
        noise = MEASUREMENT**2 * _size2(seen)
        place2, both, velocity2 = self.variance
        total = place2 + noise
        surprise = (seen - self.place) / total
        variance = np.empty_like(self.variance)
        variance[0] = noise * place2 / total
        variance[1] = noise * both / total
        variance[2] = velocity2 - both * both / total
        return Motion(self.place + place2 * surprise, self.velocity + both * surprise, variance)


def _size2(place: Floats) -> Floats:
    """Return the area of (T, 4) boxes as (T, 1), at least one pixel."""
    return np.maximum(place[:, 2:3] * place[:, 3:4], 1.0)
