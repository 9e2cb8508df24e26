"""The model path on a GPU: a YOLO26n at 640 in FP16, JPEG bytes in and boxes out, against ``predict`` and the card.

``python -m tests.benchmarks.gpu.model_path [--json]`` measures, by turns and as medians of rounds, images per second of

* ours: ``Detector.run`` on batches of JPEGs, one after the other;
* overlapped: the same from two threads, as a replica calls it: one batch is loaded while the network is at another;
* CPU decode: as overlapped, with ``gpu_decode`` off;
* predict: OpenCV's decode and Ultralytics' ``predict`` on the same batch, in FP16;
* card: the network alone, from its CUDA graph, on a batch that lies on the card already, which nothing can exceed
  without another engine.

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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from app.detection import Detector, DetectorOptions
from app.detection.ultralytics_guard import import_ultralytics
from tests.benchmarks.model_path import SIZES, jpegs, machine, write_model

BATCHES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Side:
    """One contestant."""

    run: Callable[[], object]
    """Takes one batch."""
    callers: int = 1
    """Threads that call it at once."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["640x360"], choices=list(SIZES))
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
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "yolo26n.pt"
        write_model("yolo26n", weights)
        contest = Contest(weights)
        for size in given.sizes:
            images = (jpegs(*SIZES[size]) * (max(given.batches) // 16 + 1))[: max(given.batches)]
            for batch in given.batches:
                rates = _take_turns(contest.sides(images[:batch]), batch, given.rounds, given.seconds)
                rows.append({"size": size, "batch": batch, **rates})
                if not given.json:
                    print(f"{size:10} batch {batch:3}  {_line(rates)}", flush=True)
    described = f"{torch.cuda.get_device_name(0)}; {machine()}"
    print(json.dumps({"machine": described, "images_per_second": rows}) if given.json else described)
    return 0


def _line(rates: dict[str, float]) -> str:
    each = "  ".join(f"{name} {rate:6.0f}" for name, rate in rates.items())
    best = rates["overlapped"]
    return (
        f"images/s: {each}  ours ÷ predict {rates['ours'] / rates['predict']:5.2f}  "
        f"overlapped ÷ card {best / rates['card']:5.2f}"
    )


class Contest:
    """The contestants, each with the model loaded once."""

    def __init__(self, weights: Path) -> None:
        import torch
        from ultralytics import YOLO

        from app.detection.cuda_graphs import CudaGraphs
        from app.detection.models.network import Network
        from app.detection.runners import as_input

        options = DetectorOptions(str(weights), device="cuda:0", half=True)
        self._ours = Detector(options)
        self._by_cpu = Detector(DetectorOptions(str(weights), device="cuda:0", half=True, gpu_decode=False))
        for detector in (self._ours, self._by_cpu):
            detector.warm_up()
        network = Network(options)
        self._graphs = CudaGraphs(lambda pixels: network(as_input(pixels, network)), network.tensors)
        self._stream = torch.cuda.Stream()
        self._predict = YOLO(str(weights))

    def sides(self, images: list[bytes]) -> dict[str, Side]:
        """Return each contestant for one batch."""
        import torch

        on_card = torch.randint(0, 255, (len(images), 384, 640, 3), device="cuda", dtype=torch.uint8)

        def predict() -> object:
            decoded = [cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR) for image in images]
            found = self._predict.predict(decoded, batch=len(images), imgsz=640, device=0, half=True, verbose=False)
            return [one.boxes.data.cpu() for one in found]

        def card() -> None:
            with torch.inference_mode(), torch.cuda.stream(self._stream):
                self._graphs.run(on_card)
                self._stream.synchronize()

        return {
            "ours": Side(lambda: self._ours.run(images)),
            "overlapped": Side(lambda: self._ours.run(images), callers=2),
            "CPU decode": Side(lambda: self._by_cpu.run(images), callers=2),
            "predict": Side(predict),
            "card": Side(card),
        }


def _take_turns(sides: dict[str, Side], batch: int, rounds: int, seconds: float) -> dict[str, float]:
    """Return images per second of each side: medians of rounds, in which each has its turn."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            side.run()
            rates[name].append(_turns(side, seconds) * batch)
    return {name: statistics.median(each) for name, each in rates.items()}


def _turns(side: Side, seconds: float) -> float:
    """Return batches a second."""
    began = time.perf_counter()

    def caller(_: int) -> int:
        count = 0
        while count < 2 or time.perf_counter() - began < seconds:
            side.run()
            count += 1
        return count

    if side.callers == 1:  # here, for cuDNN plans anew in each thread, and predict would pay for it in every turn
        return caller(0) / (time.perf_counter() - began)
    with ThreadPoolExecutor(side.callers) as threads:
        counts = list(threads.map(caller, range(side.callers)))
    return sum(counts) / (time.perf_counter() - began)


if __name__ == "__main__":
    raise SystemExit(main())
