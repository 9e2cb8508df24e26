"""(a) The bare loop: one process reads all sources and runs the model on what it read; no encoding, no transport."""

from __future__ import annotations

import argparse
import json
import time

import cv2

from tests.benchmarks.contestants.recording import frames_of
from tests.support.contestant_model import Model


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--recording", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--cameras", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up", type=float, default=3.0)
    parser.add_argument("--threads", type=int, required=True)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    model = Model(given.model, given.threads)
    sources = [frames_of(given.recording) for _ in range(given.cameras)]
    end = time.monotonic() + given.warm_up
    while time.monotonic() < end:
        model.run([next(source) for source in sources])
    done, began = 0, time.monotonic()
    while time.monotonic() - began < given.seconds:
        model.run([next(source) for source in sources])
        done += len(sources)
    print(json.dumps({"frames_per_s": done / (time.monotonic() - began)}))


if __name__ == "__main__":
    main()
