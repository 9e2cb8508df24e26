"""Decoding on the GPU instead of the CPU: what it saves, and what it does to what is found.

``python -m tests.benchmarks.gpu.decoding`` draws streets that the demo model was never trained on, in several sizes,
and prints for each, of decoding, scaling and padding batches of 16 JPEGs: images a second by the GPU and by the CPU's
threads (taking turns, medians), and the demo model's mean average precision on the same JPEGs decoded by each, in FP16.

Without a GPU it says so and exits with status 2.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

from app.core.image_header import probe
from app.detection import Detector, DetectorOptions
from app.detection.detections import Detections
from app.detection.gpu_batch_loader import GpuLoader
from app.detection.letterbox import Letterbox, fit
from app.detection.models.train_street import IMAGE_SIZE
from tests.benchmarks.model_path import ROOT, machine
from tests.benchmarks.scaled_decode import STRIDE, TURNS, Scene, draw, judge

SIZES = ((640, 360), (1280, 720), (1920, 1080))
BATCH = 16


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=500, help="of each size")
    given = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("there is no GPU here", file=sys.stderr)
        return 2
    scenes_of = draw_all(given.frames)
    model = str(ROOT / "configs" / "models" / "street.pt")
    # As Ultralytics' validator judges: everything that is found, however unsure.
    by_gpu, by_cpu = (
        Detector(DetectorOptions(model, device="cuda", confidence=0.001, use_export=False, gpu_decode=decode))
        for decode in (True, False)
    )
    print("| JPEG | images/s by GPU, CPU | mAP50 by GPU, CPU | mAP50-95 by GPU, CPU |")
    print("|---|---|---|---|")
    for (width, height), scenes in scenes_of.items():
        rates = compare([scene.jpeg for scene in scenes[: 3 * BATCH]])
        seen = [judge(scenes, detect(detector, scenes)) for detector in (by_gpu, by_cpu)]
        print(
            f"| {width}×{height} | {rates[0]:.0f}, {rates[1]:.0f} | {seen[0].at_50:.3f}, {seen[1].at_50:.3f} "
            f"| {seen[0].at_50_to_95:.3f}, {seen[1].at_50_to_95:.3f} |",
            flush=True,
        )
    print(f"\n{given.frames} frames of each size; {torch.cuda.get_device_name(0)}; {machine()}")
    return 0


def draw_all(frames: int) -> dict[tuple[int, int], list[Scene]]:
    """Draw on all cores; done before the GPU is touched, for processes are forked."""
    with ProcessPoolExecutor(mp_context=get_context("fork")) as drawers:
        return {size: list(drawers.map(partial(_draw, *size), range(frames), chunksize=8)) for size in SIZES}


def _draw(width: int, height: int, number: int) -> Scene:
    return replace(draw(width, height, number), whole=b"")


def detect(detector: Detector, scenes: Sequence[Scene]) -> list[Detections]:
    """Detect in batches."""
    jpegs = [scene.jpeg for scene in scenes]
    parts = [jpegs[begin : begin + BATCH] for begin in range(0, len(jpegs), BATCH)]
    return [found for part in parts for found in detector.detect(part)]


def compare(jpegs: Sequence[bytes]) -> list[float]:
    """Return images per second of the GPU and of the CPU's threads."""
    import torch

    def fitted(width: int, height: int) -> Letterbox:
        return fit(width, height, (IMAGE_SIZE, IMAGE_SIZE), STRIDE, rectangular=True)

    loaders = [GpuLoader(fitted, torch.device("cuda"), decode) for decode in (True, False)]
    headers = [probe(jpeg) for jpeg in jpegs]
    rates: list[list[float]] = [[], []]
    for _ in range(TURNS + 1):
        for loader, found in zip(loaders, rates, strict=True):
            began = time.perf_counter()
            for begin in range(0, len(jpegs), BATCH):
                loader.load(jpegs[begin : begin + BATCH], headers[begin : begin + BATCH])
            torch.cuda.synchronize()
            found.append(len(jpegs) / (time.perf_counter() - began))
    return [statistics.median(found[1:]) for found in rates]


if __name__ == "__main__":
    raise SystemExit(main())
