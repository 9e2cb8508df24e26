"""The model path on a GPU: a YOLO26n at 640 in FP16, JPEG bytes in and boxes out, against ``predict`` and the card.

``python -m tests.benchmarks.gpu.model_path [--json]`` measures, by turns and as medians of rounds, images per second of

* ours: ``Detector.run`` on a batch of JPEGs;
* predict: OpenCV's decode and Ultralytics' ``predict`` on the same batch, in FP16;
* card: the network alone on a batch that lies on the card already, which nothing can exceed without another engine.

Without a GPU it says so and exits with status 2.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from app.detection import Detector, DetectorOptions
from app.detection.restraint import import_ultralytics
from tests.benchmarks.model_path import SIZES, jpegs, machine, write_model

BATCHES = (1, 2, 4, 8, 16, 32, 64)
Run = Callable[[], object]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="640x360", choices=list(SIZES))
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one side's turn")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    import_ultralytics()
    import torch

    if not torch.cuda.is_available():
        print("there is no GPU here", file=sys.stderr)
        return 2
    images = (jpegs(*SIZES[given.size]) * (max(given.batches) // 16 + 1))[: max(given.batches)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "yolo26n.pt"
        write_model("yolo26n", weights)
        for batch, sides in _sides(weights, images, given.batches):
            rates = _take_turns(sides, batch, given.rounds, given.seconds)
            rows.append({"batch": batch, **rates})
            if not given.json:
                print(_line(batch, rates), flush=True)
    described = f"{torch.cuda.get_device_name(0)}; {machine()}; {given.size} JPEGs"
    print(json.dumps({"machine": described, "images_per_second": rows}) if given.json else described)
    return 0


def _line(batch: int, rates: dict[str, float]) -> str:
    return (
        f"batch {batch:3}  images/s: ours {rates['ours']:8.0f}  predict {rates['predict']:8.0f}  "
        f"card {rates['card']:8.0f}"
        f"  ours ÷ predict {rates['ours'] / rates['predict']:5.2f}  ours ÷ card {rates['ours'] / rates['card']:5.2f}"
    )


def _sides(weights: Path, images: list[bytes], batches: list[int]) -> list[tuple[int, dict[str, Run]]]:
    import torch
    from ultralytics import YOLO

    detector = Detector(DetectorOptions(str(weights), device="cuda:0", half=True))
    detector.warm_up()
    network, model = detector._network, YOLO(str(weights))

    def sides(batch: int) -> dict[str, Run]:
        part = images[:batch]
        on_card = torch.rand((batch, 3, 384, 640), device="cuda", dtype=torch.float16)

        def predict() -> object:
            decoded = [cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR) for image in part]
            found = model.predict(decoded, batch=batch, imgsz=640, device=0, half=True, verbose=False)
            return [one.boxes.data.cpu() for one in found]

        def card() -> None:
            with torch.inference_mode():
                network(on_card)
            torch.cuda.synchronize()

        return {"ours": lambda: detector.run(part), "predict": predict, "card": card}

    return [(batch, sides(batch)) for batch in batches]


def _take_turns(sides: dict[str, Run], batch: int, rounds: int, seconds: float) -> dict[str, float]:
    """Give images per second of each side: medians of rounds, in which each has its turn."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            run()
            began, count = time.perf_counter(), 0
            while count < 2 or time.perf_counter() - began < seconds:
                run()
                count += 1
            rates[name].append(count * batch / (time.perf_counter() - began))
    return {name: statistics.median(each) for name, each in rates.items()}


if __name__ == "__main__":
    raise SystemExit(main())
