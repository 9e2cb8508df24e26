"""Decoding large JPEGs small: what it saves, and what it does to what is found.

``python -m tests.benchmarks.scaled_decode`` draws streets that the demo model was never trained on, in several sizes,
and prints for each: the time of decoding and scaling (whole ÷ small, in one run, taking turns, medians), and the mean
average precision of the demo model on the same JPEGs decoded whole (given as PNG of the decoded pixels) and small.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.detection import Detector, DetectorOptions
from app.detection.decoding import decode
from app.detection.detections import Detections
from app.detection.letterbox import fit, resize_into
from app.detection.models.train_street import HELD_OUT_SEEDS, IMAGE_SIZE, LEAST_VISIBLE
from app.simulation.spec import StreetSpec
from app.simulation.street import Street
from tests.benchmarks.model_path import ROOT, machine

SIZES = ((1280, 720), (1920, 1080), (2560, 1440))
QUALITY = 85
TURNS = 5
STRIDE = 32


@dataclass(frozen=True, eq=False)
class Scene:
    """One drawn frame."""

    jpeg: bytes
    whole: bytes
    """PNG of the JPEG's pixels, which no decoder makes smaller."""
    boxes: NDArray[np.float32]
    class_ids: NDArray[np.int64]


@dataclass(frozen=True)
class Precision:
    """Mean average precision over the classes."""

    at_50: float
    at_50_to_95: float


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=500, help="of each size")
    given = parser.parse_args()
    # As Ultralytics' validator judges: everything that is found, however unsure.
    options = DetectorOptions(
        str(ROOT / "configs" / "models" / "street.pt"), device="cpu", confidence=0.001, iou=0.7, max_detections=300
    )
    detector = Detector(options)
    print("| JPEG | decoded to | whole ÷ small, time | mAP50 whole, small | mAP50-95 whole, small |")
    print("|---|---|---|---|---|")
    for width, height in SIZES:
        scenes = [draw(width, height, number) for number in range(given.frames)]
        speed, shape = time_ratio([scene.jpeg for scene in scenes[:50]], width, height)
        whole = judge(scenes, detector.detect([scene.whole for scene in scenes]))
        small = judge(scenes, detector.detect([scene.jpeg for scene in scenes]))
        print(
            f"| {width}×{height} | {shape[1]}×{shape[0]} | {speed:.2f} | {whole.at_50:.3f}, {small.at_50:.3f} "
            f"| {whole.at_50_to_95:.3f}, {small.at_50_to_95:.3f} |",
            flush=True,
        )
    print(f"\n{given.frames} frames of each size, quality {QUALITY}; {machine()}")
    return 0


def draw(width: int, height: int, number: int) -> Scene:
    """Draw one frame of a street of its own."""
    rng = np.random.default_rng((HELD_OUT_SEEDS, number))
    objects, index = int(rng.integers(1, 13)), int(rng.integers(0, 20_000))
    street = Street(StreetSpec(seed=HELD_OUT_SEEDS + number, width=width, height=height, objects=objects))
    frame = street.frame(index)
    jpeg = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    whole = cv2.imencode(".png", cv2.imdecode(jpeg, cv2.IMREAD_COLOR), [cv2.IMWRITE_PNG_COMPRESSION, 0])[1]
    plain = frame.truth.visible >= LEAST_VISIBLE
    return Scene(jpeg.tobytes(), whole.tobytes(), frame.truth.boxes[plain], frame.truth.class_ids[plain])


def time_ratio(jpegs: Sequence[bytes], width: int, height: int) -> tuple[float, tuple[int, ...]]:
    """Compare decoding and scaling into the model's input; also give the shape that is decoded to."""
    box = fit(width, height, (IMAGE_SIZE, IMAGE_SIZE), STRIDE, rectangular=True)
    target = np.empty((*box.shape, 3), np.uint8)
    shape: tuple[int, ...] = ()
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(TURNS + 1):
        for side, needed in enumerate((None, lambda *_: box.scaled)):
            began = time.perf_counter()
            for jpeg in jpegs:
                picture = decode(jpeg, needed)
                resize_into(picture.pixels, box, target)
            spent[side].append(time.perf_counter() - began)
        shape = picture.pixels.shape
    whole, small = (statistics.median(side[1:]) for side in spent)
    return whole / small, shape


def judge(scenes: Sequence[Scene], found: Sequence[Detections]) -> Precision:
    """Compute what Ultralytics' validator computes, by its own functions."""
    import torch
    from ultralytics.models.yolo.detect import DetectionValidator
    from ultralytics.utils.metrics import ap_per_class, box_iou

    validator = DetectionValidator()
    right = []
    for scene, seen in zip(scenes, found, strict=True):
        overlap = box_iou(torch.from_numpy(scene.boxes).float(), torch.from_numpy(seen.boxes))
        classes = torch.from_numpy(seen.class_ids), torch.from_numpy(scene.class_ids)
        right.append(validator.match_predictions(*classes, overlap).numpy())
    precision = ap_per_class(
        np.concatenate(right),
        np.concatenate([seen.scores for seen in found]),
        np.concatenate([seen.class_ids for seen in found]),
        np.concatenate([scene.class_ids for scene in scenes]),
    )[5]
    return Precision(float(precision[:, 0].mean()), float(precision.mean()))


if __name__ == "__main__":
    raise SystemExit(main())
