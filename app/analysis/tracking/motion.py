"""Motion: where tracks are predicted to be after some seconds, and what a match teaches about it.

Centre, width and height of a box are each a Kalman filter of their own, of a place and its velocity; all filters of all
tracks are computed at once. The velocity is an Ornstein-Uhlenbeck process: it decays and is disturbed by noise. So a
prediction in several steps is the same as in one of their length, whatever the frame rate.

Sources: R. E. Kalman, "A New Approach to Linear Filtering and Prediction Problems", 1960; R. A. Singer, "Estimating
Optimal Tracking Filter Performance for Manned Maneuvering Targets", 1970, for velocities that decay; N. Wojke and
others, "Simple Online and Realtime Tracking with a Deep Association Metric", 2017, for noise in proportion to the box.
"""

from __future__ import annotations

import math
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

_FILTERS = tuple(zip(MEMORY_S.tolist(), DISTURBANCE.tolist(), strict=True))
_MEASUREMENT2 = MEASUREMENT[:, None] ** 2
_UNKNOWN_VELOCITY2 = UNKNOWN_VELOCITY[:, None] ** 2


@dataclass(frozen=True, eq=False)
class Motion:
    """Places, velocities and their variances of T tracks at one time each."""

    moments: Floats
    """(5, 4, T): of x and y of the centre, width and height, each the place in pixels, the velocity in pixels a second,
    the variance of the place, its covariance with the velocity, and the variance of the velocity. The tracks are the
    last axis, as NumPy is fast where that is the long one."""

    @property
    def place(self) -> Floats:
        """(T, 4), x and y of the centre, width, height, in pixels."""
        place: Floats = self.moments[0].T
        return place

    @property
    def velocity(self) -> Floats:
        """(T, 4), pixels a second."""
        velocity: Floats = self.moments[1].T
        return velocity

    @property
    def variance(self) -> Floats:
        """(3, T, 4): of place, of place with velocity, of velocity."""
        return self.moments[2:].transpose(0, 2, 1)

    @classmethod
    def begin(cls, place: Floats) -> Motion:
        """Return the motion of new tracks: their places are (T, 4), their velocities unknown."""
        moments = np.zeros((5, *place.T.shape))
        moments[0] = place.T
        size2 = _size2(moments[0])
        moments[2] = _MEASUREMENT2 * size2
        moments[4] = _UNKNOWN_VELOCITY2 * size2
        return cls(moments)

    def of(self, rows: NDArray[np.intp]) -> Motion:
        """Return the motion of some of the tracks."""
        return Motion(self.moments[:, :, rows])

    def predict(self, seconds: Floats) -> Motion:
        """Return the motion after (T,) seconds, each 0 or more."""
        if not len(seconds):
            return self
        decay, decay2, reach, noise = _coefficients(seconds)
        before = self.moments
        after = np.empty_like(before)
        reached = reach * before[1::3]  # of the velocities and of their variances
        moved = before[3] + reached[1]
        np.add(before[0], reached[0], out=after[0])
        np.multiply(decay, before[1], out=after[1])
        np.add(before[3], moved, out=after[2])
        after[2] *= reach
        after[2] += before[2]
        np.multiply(decay, moved, out=after[3])
        np.multiply(decay2, before[4], out=after[4])
        after[2:] += noise * _size2(before[0])
        return Motion(after)

    def update(self, seen: Floats) -> Motion:
        """Return the motion once (T, 4) places were seen."""
        before, places = self.moments, seen.T
        after = np.empty_like(before)
        noise = _MEASUREMENT2 * _size2(places)
        total = before[2] + noise
        surprise = (places - before[0]) / total
        np.multiply(before[2:4], surprise, out=after[:2])
        after[:2] += before[:2]
        np.multiply(before[2:4], noise, out=after[2:4])
        after[2:4] /= total
        np.multiply(before[3], before[3], out=after[4])
        after[4] /= total
        np.subtract(before[4], after[4], out=after[4])
        return Motion(after)


def _coefficients(seconds: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return what a prediction over (T,) seconds multiplies by.

    Most tracks were seen in the same frame, so there are few different times: one of them costs less in plain Python.

    Returns:
        The velocities' decay, its square, and the seconds that the present velocity still acts: each (4, T), or (4, 1)
        for one time; the noise of the variances in areas of the box, (3, 4, T) or (3, 4, 1).
    """
    times = seconds.tolist()
    different = dict.fromkeys(times)
    table = np.array([_coefficients_of(time) for time in different])
    if len(different) > 1:
        row = {time: index for index, time in enumerate(different)}
        table = table[[row[time] for time in times]]
    parts = np.ascontiguousarray(table.T).reshape(6, 4, -1)
    return parts[0], parts[1], parts[2], parts[3:]


def _coefficients_of(seconds: float) -> list[float]:
    """Return the coefficients of one time: 6 for each of the 4 filters."""
    decays, squares, reaches, of_place, of_both, of_velocity = [], [], [], [], [], []
    for memory, disturbance in _FILTERS:
        decay = math.exp(-seconds / memory)
        reach = memory * (1 - decay)
        half = memory / 2 * (1 - decay * decay)
        noise = disturbance * disturbance
        decays.append(decay)
        squares.append(decay * decay)
        reaches.append(reach)
        of_place.append(noise * memory * memory * (seconds - 2 * reach + half))
        of_both.append(noise * reach * reach / 2)
        of_velocity.append(noise * half)
    return [*decays, *squares, *reaches, *of_place, *of_both, *of_velocity]


def _size2(place: Floats) -> Floats:
    """Return the area of (4, T) boxes as (T,), at least one pixel."""
    size2: Floats = np.maximum(place[2] * place[3], 1.0)
    return size2
