"""What evidence costs in latency: capture to Kafka with a rule that asks for it, and with the same rule that does not.

    python -m tests.benchmarks.evidence_latency [--cameras 4] [--fps 5] [--seconds 40] [--rounds 4]

One system runs as a user runs it, with simulated cameras of 640x360 pixels, the bundled model, the embedded broker and
a folder for its evidence. A rule counts what crosses the middle of the picture; it is changed over the HTTP API in
turns: in one it asks for a snapshot and a clip of each crossing, in the other for nothing. Printed: the medians over
the turns of each turn's quantiles, which are those of ``/api/v1/status?seconds=``, and the ratio of each round.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from app.core.ports import free_ports
from app.web.client import ApiClient
from app.web.figures import QuantilesModel
from app.web.schemas import StatusModel
from tests.support.system import BIN, running
from tests.support.watched_system import apart, on_ports

SETTLE_S = 8.0
"""Between a change of the rule and a turn: by then the pictures that a clip shows have come together."""
WARM_UP_S = 20.0
ON, OFF = ["snapshot", "clip"], list[str]()


def turn(client: ApiClient, evidence: Sequence[str], seconds: float) -> QuantilesModel:
    """Change the rule, and return the quantiles of the time that follows, in milliseconds."""
    line = {"id": "middle", "type": "line_crossing", "line": [[0.5, 0], [0.5, 1]], "evidence": list(evidence)}
    client.add_rule(line, replace=True)
    time.sleep(SETTLE_S + seconds)
    found = client.status(seconds).capture_to_kafka_ms
    assert found is not None, "nothing reached Kafka"
    return found


def asked(status: StatusModel) -> int:
    return status.evidence.asked if status.evidence else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--rounds", type=int, default=4)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="slb", dir="/tmp"))  # Ray keeps sockets there: its path must be short
    grpc_port, http_port = free_ports(2)
    config = on_ports(folder, grpc_port, http_port)
    (folder / "rules.yaml").write_text("rules: []\n")
    street = "synthetic://street?seed={}&width=640&height=360&objects=6"
    environment = {
        **apart(folder, grpc_port),
        "SIGHTLINE_CAMERAS": ",".join(f"cam-{n}={street.format(n)}" for n in range(given.cameras)),
        "SIGHTLINE_RULES": str(folder / "rules.yaml"),
        "SIGHTLINE_EVIDENCE_URL": f"file://{folder / 'store'}",
        "INFERENCE_FPS": str(given.fps),
    }
    turns: dict[str, list[QuantilesModel]] = {"without": [], "with": []}
    try:
        with running([str(BIN / "serve"), "run", str(config)], folder, **environment) as system:
            system.wait_for_line("events/s", 240)
            client = ApiClient(f"http://127.0.0.1:{http_port}")
            time.sleep(WARM_UP_S)
            for _ in range(given.rounds):
                turns["without"].append(turn(client, OFF, given.seconds))
                turns["with"].append(turn(client, ON, given.seconds))
            last = client.status()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{given.cameras} cameras at {given.fps:g} frames a second, {given.rounds} rounds of {given.seconds:g} s "
          f"in turns; {asked(last)} pictures and clips asked")  # fmt: skip
    for name, each in turns.items():
        quantiles = {part: statistics.median(getattr(one, part) for one in each) for part in ("p50", "p95", "p99")}
        told = ", ".join(f"{part} {value:.1f}" for part, value in quantiles.items())
        highest = [one.p99 for one in each]
        print(f"{name} evidence, ms: {told}; p99 from {min(highest):.1f} to {max(highest):.1f}")
    ratios = [on.p99 / off.p99 for off, on in zip(turns["without"], turns["with"], strict=True)]
    spread = f"from {min(ratios):.2f} to {max(ratios):.2f}"
    print(f"ratio of p99 of each round: median {statistics.median(ratios):.2f}, {spread}")


if __name__ == "__main__":
    main()
