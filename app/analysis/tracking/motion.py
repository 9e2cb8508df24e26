"""Motion: where a track is predicted to be after some seconds, and what a match teaches about it.

Centre, width and height of a box are each a Kalman filter of their own, of a place and its velocity. The velocity is an
Ornstein-Uhlenbeck process: it decays and is disturbed by noise. So a prediction in several steps is the same as in one
of their length, whatever the frame rate.

Plain Python: a camera has a handful of tracks, of which arithmetic on arrays takes five times as long.

Sources: R. E. Kalman, "A New Approach to Linear Filtering and Prediction Problems", 1960; R. A. Singer, "Estimating
Optimal Tracking Filter Performance for Manned Maneuvering Targets", 1970, for velocities that decay; N. Wojke and
others, "Simple Online and Realtime Tracking with a Deep Association Metric", 2017, for noise in proportion to the box.
"""

from __future__ import annotations

import math

# Chosen on simulated streets (seeds 11 to 13 and 31 to 33, none of them in the benchmark) among 100 random choices.
MEMORY_S = (60.0, 60.0, 0.8, 0.8)
"""Time constants of the velocities' decay, in seconds: of the centre's x and y, of width and height."""
DISTURBANCE = (0.25, 0.25, 0.07, 0.07)
"""Standard deviation of a velocity's change within a second, in sizes (square roots of the box's area) a second."""
UNKNOWN_VELOCITY = (1.5, 0.4, 0.4, 0.4)
"""Standard deviation of a new track's velocity, in sizes a second."""
MEASUREMENT = (0.05, 0.05, 0.07, 0.07)
"""Standard deviation of a detected box, in sizes."""

_FILTERS = tuple(zip(MEMORY_S, DISTURBANCE, strict=True))
_MEASUREMENT2 = tuple([one * one for one in MEASUREMENT])
_UNKNOWN_VELOCITY2 = tuple([one * one for one in UNKNOWN_VELOCITY])

Place = tuple[float, float, float, float]
"""x and y of the centre, width, height, in pixels."""
Filter = tuple[float, float, float, float, float]
"""The place in pixels, the velocity in pixels a second, the variance of the place, its covariance with the velocity,
and the variance of the velocity."""
Motion = tuple[Filter, Filter, Filter, Filter]
"""The four filters of a track at one time: of x and y of the centre, width and height."""
Step = tuple[tuple[float, float, float, float, float, float], ...]
"""What a prediction multiplies by, of each filter: the velocity's decay, its square, the seconds that the present
velocity still acts; and the noise of the three variances in areas of the box."""


def begin_motion(place: Place) -> Motion:
    """Return the motion of a new track: its velocity is unknown."""
    size2 = _size2(place[2], place[3])
    x, y, width, height = [
        (at, 0.0, measurement2 * size2, 0.0, velocity2 * size2)
        for at, measurement2, velocity2 in zip(place, _MEASUREMENT2, _UNKNOWN_VELOCITY2, strict=True)
    ]
    return x, y, width, height


def step_of(seconds: float) -> Step:
    """Return what a prediction over some seconds, 0 or more, multiplies by."""
    known: dict[tuple[float, float], tuple[float, float, float, float, float, float]] = {}
    step = []
    for one in _FILTERS:
        if one not in known:
            memory, disturbance = one
            decay = math.exp(-seconds / memory)
            reach = memory * (1 - decay)
            half = memory / 2 * (1 - decay * decay)
            noise = disturbance * disturbance
            of_place = noise * memory * memory * (seconds - 2 * reach + half)
            known[one] = decay, decay * decay, reach, of_place, noise * reach * reach / 2, noise * half
        step.append(known[one])
    return tuple(step)


def predict(motion: Motion, step: Step) -> Motion:
    """Return the motion after the seconds of a step."""
    size2 = _size2(motion[2][0], motion[3][0])
    x, y, width, height = [
        (
            place + reach * velocity,
            decay * velocity,
            (both + (moved := both + reach * drift)) * reach + variance + of_place * size2,
            decay * moved + of_both * size2,
            decay2 * drift + of_velocity * size2,
        )
        for (place, velocity, variance, both, drift), (decay, decay2, reach, of_place, of_both, of_velocity) in zip(
            motion, step, strict=True
        )
    ]
    return x, y, width, height


def update(motion: Motion, seen: Place) -> Motion:
    """Return the motion once the track was seen at a place."""
    size2 = _size2(seen[2], seen[3])
    x, y, width, height = [
        (
            variance * (surprise := (at - place) / (total := variance + (noise := measurement2 * size2))) + place,
            both * surprise + velocity,
            variance * noise / total,
            both * noise / total,
            drift - both * both / total,
        )
        for (place, velocity, variance, both, drift), at, measurement2 in zip(motion, seen, _MEASUREMENT2, strict=True)
    ]
    return x, y, width, height


def _size2(width: float, height: float) -> float:
    """Return the area of a box, at least one pixel."""
    size2 = width * height
    return size2 if size2 > 1.0 else 1.0
