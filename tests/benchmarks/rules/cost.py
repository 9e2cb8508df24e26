"""What rules cost: ``python -m tests.benchmarks.rules.cost [--events 432000]``.

First five rules (intrusion, loitering, line_crossing, wrong_way, stopped) at 5, 10 and 20 objects that drive to and fro
at 5 frames a second, some of them through the zones: the least and the median time of a frame, in process, and of its
state to bytes and back. Then the same rules over a file of events of 5 objects, as ``sightline rules test`` reads it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from app.analysis.rules.engine import CameraRules, apply_rules, make_camera_rules
from app.analysis.rules.example import START_MS
from app.analysis.rules.frame import Frame, SeenObject
from app.analysis.rules.replay import Replay
from app.analysis.rules.state import RulesState, decode_state, encode_state
from app.core.iso_time import iso_time
from app.settings.rule_lists import parse_rules

FPS = 5
WIDTH, HEIGHT = 1280, 720
RULES: tuple[dict[str, Any], ...] = (
    {"id": "yard", "type": "intrusion", "zone": [[0.1, 0.6], [0.4, 0.6], [0.4, 0.95], [0.1, 0.95]]},
    {"id": "stay", "type": "loitering", "dwell": 20, "zone": [[0.5, 0.5], [0.9, 0.5], [0.9, 0.8], [0.5, 0.8]]},
    {"id": "line", "type": "line_crossing", "line": [[0.5, 0.95], [0.5, 0.2]]},
    {
        "id": "wrong",
        "type": "wrong_way",
        "direction": [[0.1, 0.5], [0.9, 0.5]],
        "zone": [[0, 0.4], [1, 0.4], [1, 0.6], [0, 0.6]],
    },
    {"id": "park", "type": "stopped", "dwell": 10},
)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=3000, help="for each number of objects")
    parser.add_argument("--events", type=int, default=0, help="how many events `rules test` is to read; 0: none")
    given = parser.parse_args()
    rules = make_camera_rules(parse_rules(RULES), "cam")
    for objects in (5, 10, 20):
        print(_of_frames(list(_frames(objects, given.frames)), rules))
    if given.events:
        print(_of_events(given.events))
    print(f"load {os.getloadavg()[0]:.1f}")
    return 0


def _of_frames(frames: list[Frame], rules: CameraRules) -> str:
    state, costs, stored = RulesState(), [], []
    for frame in frames:
        begin = time.perf_counter()
        state, _ = apply_rules(state, frame, rules)
        between = time.perf_counter()
        decode_state(encode_state(state))
        costs.append(1e6 * (between - begin))
        stored.append(1e6 * (time.perf_counter() - between))
    return (
        f"{len(frames[0].objects):>3} objects: {min(costs):.0f} µs, median {statistics.median(costs):.0f} µs a frame; "
        f"state to bytes and back: {min(stored):.0f} µs, median {statistics.median(stored):.0f} µs"
    )


def _of_events(count: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        with path.open("w") as file:
            for frame in _frames(5, count):
                file.write(json.dumps(_event(frame)) + "\n")
        replay = Replay(parse_rules(RULES))
        begin = time.process_time()
        with path.open() as lines:
            told = sum(1 for _ in replay.apply(lines, path.name))
        seconds = time.process_time() - begin
    each = 1e6 * seconds / count
    return f"{count} events of 5 objects: {seconds:.1f} s of processor, {each:.0f} µs an event, {told} transitions"


def _frames(objects: int, count: int) -> Iterator[Frame]:
    """Yield frames in which every object drives to and fro on its own row, and stands for a while at one end."""
    rng = np.random.default_rng(objects)
    speed, phase = rng.uniform(0.02, 0.06, objects), rng.uniform(0, 40, objects)
    noise = rng.normal(0, 0.5, (997, objects, 2))
    rows = np.linspace(0.3, 0.9, objects) * HEIGHT
    for number in range(count):
        way = np.abs((speed * (number / FPS) + phase) % 2 - 1)  # 0…1 and back
        x = (0.1 + 0.8 * np.minimum(way * 1.2, 1)) * WIDTH + noise[number % 997, :, 0]
        y = rows + noise[number % 997, :, 1]
        boxes = zip(x.tolist(), y.tolist(), strict=True)
        seen = tuple(
            SeenObject("car", 0.9, (round(left - 50, 2), round(feet - 60, 2), 100.0, 60.0), 100 + one)
            for one, (left, feet) in enumerate(boxes)
        )
        yield Frame("cam", START_MS + 1000 * number // FPS, WIDTH, HEIGHT, seen)


def _event(frame: Frame) -> dict[str, Any]:
    """Return the part of an event that rules read, and what surrounds it in size."""
    return {
        "schema_version": "1",
        "event_id": "2e344991-bd78-50ae-a786-436c4dd8c187",
        "camera_id": frame.camera_id,
        "timestamp": iso_time(frame.time_ms),
        "frame": {"width": frame.width, "height": frame.height, "sequence": 1, "epoch": 1},
        "detections": [
            {"class": one.label, "confidence": one.confidence, "bbox": one.bbox, "track_id": one.track_id}
            for one in frame.objects
        ],
        "anomaly_type": None,
    }


if __name__ == "__main__":
    raise SystemExit(main())
