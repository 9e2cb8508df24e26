"""What an update of one camera's tracks costs: ``python -m tests.benchmarks.tracking.cost``.

5, 20 and 50 objects move at constant speed, and all are matched. Printed: the least and the median time of an update,
which loads the state from bytes and stores it, and the size of the stored state.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from app.analysis.tracking.frame import ObservedFrame
from app.analysis.tracking.state import CameraTracks
from app.analysis.tracking.tracker import track
from app.settings.tracking import TrackingSettings
from tests.support.observed import observed_boxes

FPS = 5


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=2000, help="for each number of objects")
    given = parser.parse_args()
    for objects in (5, 20, 50):
        stored, costs = CameraTracks().dump(), []
        for observed in _frames(objects, given.frames):
            begin = time.perf_counter()
            state, _ = track(CameraTracks.load(stored), observed, TrackingSettings())
            stored = state.dump()
            costs.append(1000 * (time.perf_counter() - begin))
        assert state.active == objects
        print(
            f"{objects:>3} objects: {min(costs):.3f} ms, median {statistics.median(costs):.3f} ms, {len(stored)} bytes"
        )
    return 0


def _frames(objects: int, count: int) -> list[ObservedFrame]:
    rng = np.random.default_rng(objects)
    corner = np.stack([100.0 * (np.arange(objects) % 10), 100.0 * (np.arange(objects) // 10)], axis=1)
    boxes = np.concatenate([corner, corner + rng.uniform(40, 80, (objects, 2))], axis=1)
    scores, classes = np.full(objects, 0.9), np.zeros(objects, np.int64)
    return [
        ObservedFrame(
            (1_700_000_000 * FPS + number) * 10**9 // FPS,
            observed_boxes(boxes + 0.5 * number + rng.normal(0, 1, boxes.shape), scores, classes),
        )
        for number in range(count)
    ]


if __name__ == "__main__":
    raise SystemExit(main())
