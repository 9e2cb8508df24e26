"""What tracking and rules add to the time from capture to Kafka, in one running system.

    python -m tests.benchmarks.analysis_latency [--cameras 8] [--fps 5] [--rounds 4] [--seconds 20]

``serve run`` starts the whole system once, with simulated streets, the bundled model and the embedded broker. Three
ways then take turns, switched while it runs as a user would: cameras without tracking; with it, and so the lives of
objects; and with five rules for each camera besides. A round begins once every camera has its rate again. Printed: for
each way the median of its rounds' quantiles, from capture to Kafka's acknowledgement, with their range, and how far
each differs from the way without, round by round.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.ports import free_ports
from app.web.client import ApiClient
from tests.support.system import BIN, running
from tests.support.waiting import wait_for
from tests.support.watched_system import apart, on_ports

START_S = 240.0
SETTLE_S = 60.0
NEAR_ITS_RATE = 0.9
SPACE_S = 2.0
"""After a change, so that no frame of before it is counted."""
RULES: tuple[Mapping[str, Any], ...] = (
    {"id": "yard", "type": "intrusion", "zone": [[0.1, 0.6], [0.4, 0.6], [0.4, 0.95], [0.1, 0.95]]},
    {"id": "stay", "type": "loitering", "dwell": 5, "zone": [[0.5, 0.5], [0.9, 0.5], [0.9, 0.8], [0.5, 0.8]]},
    {"id": "line", "type": "line_crossing", "line": [[0.5, 0.95], [0.5, 0.2]]},
    {"id": "wrong", "type": "wrong_way", "direction": [[0.1, 0.5], [0.9, 0.5]]},
    {"id": "park", "type": "stopped", "dwell": 3},
)


@dataclass(frozen=True)
class Way:
    """What is compared."""

    name: str
    tracking: bool
    rules: bool


WAYS = (
    Way("neither tracking nor rules", tracking=False, rules=False),
    Way("tracking", tracking=True, rules=False),
    Way("tracking and 5 rules", tracking=True, rules=True),
)


@dataclass(frozen=True)
class Round:
    """What came of one round."""

    events: float
    """A second."""
    p50_ms: float
    p99_ms: float


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--fps", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=20)
    given = parser.parse_args()
    found: dict[Way, list[Round]] = {way: [] for way in WAYS}
    with _system(given.cameras, given.fps) as api:
        for _ in range(given.rounds):
            for way, rounds in found.items():
                _switch(api, way, given.fps)
                rounds.append(_measure(api, given.seconds))
    print(f"{given.cameras} cameras × {given.fps:g} FPS, {given.rounds} alternating rounds of {given.seconds:g} s, "
          f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")  # fmt: skip
    without = found[WAYS[0]]
    for way, rounds in found.items():
        events = statistics.median(one.events for one in rounds)
        print(f"{way.name}: {events:.1f} events/s; p50 {_spread([one.p50_ms for one in rounds])}; "
              f"p99 {_spread([one.p99_ms for one in rounds])}")  # fmt: skip
        if rounds is not without:
            more = [mine.p99_ms - other.p99_ms for mine, other in zip(rounds, without, strict=True)]
            print(f"  p99 above that of the round without: {_spread(more)}")
    return 0


@contextlib.contextmanager
def _system(cameras: int, fps: float) -> Iterator[ApiClient]:
    """Start the system; its cameras have their rate."""
    folder = Path(tempfile.mkdtemp(prefix="sla", dir="/tmp"))  # Ray keeps sockets there: its path must be short
    try:
        grpc_port, http_port = free_ports(2)
        (folder / "rules.yaml").write_text("rules: []\n")
        streets = [f"cam-{n}=synthetic://street?seed={n}&width=640&height=360&objects=6" for n in range(1, cameras + 1)]
        environment = {
            **apart(folder, grpc_port),
            "SIGHTLINE_CAMERAS": ",".join(streets),
            "SIGHTLINE_RULES": str(folder / "rules.yaml"),
            "INFERENCE_FPS": f"{fps:g}",
        }
        config = on_ports(folder, grpc_port, http_port)
        with running([str(BIN / "serve"), "run", str(config)], folder, **environment) as system:
            system.wait_for_line("events/s", START_S)
            api = ApiClient(f"http://127.0.0.1:{http_port}")
            _await_rate(api, fps)
            yield api
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _switch(api: ApiClient, way: Way, fps: float) -> None:
    """Have the system work in one way."""
    present = {rule.id for rule in api.rules()}
    for rule in RULES:
        if way.rules and rule["id"] not in present:
            api.add_rule(rule)
        elif not way.rules and rule["id"] in present:
            api.remove_rule(str(rule["id"]))
    for camera in api.cameras():
        if camera.settings.tracking is not way.tracking:
            fields = camera.settings.model_dump(mode="json") | {"tracking": way.tracking}
            api.add(camera.id, fields, replace=True)
    time.sleep(SPACE_S)
    _await_rate(api, fps)


def _await_rate(api: ApiClient, fps: float) -> None:
    wait_for(
        lambda: all(one.fps_delivered >= NEAR_ITS_RATE * fps for one in api.cameras()),
        SETTLE_S,
        "the cameras at their rate",
    )


def _measure(api: ApiClient, seconds: float) -> Round:
    before, began = _published(api), time.monotonic()
    time.sleep(seconds)
    took_s = time.monotonic() - began
    status = api.status(took_s)
    assert status.capture_to_kafka_ms is not None
    assert status.publisher is not None
    return Round(
        (status.publisher.published - before) / took_s, status.capture_to_kafka_ms.p50, status.capture_to_kafka_ms.p99
    )


def _published(api: ApiClient) -> int:
    publisher = api.status().publisher
    assert publisher is not None
    return publisher.published


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ms ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    raise SystemExit(main())
