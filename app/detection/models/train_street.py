"""Train the bundled demo model: ``python -m app.detection.models.train_street``.

It draws streets, trains, evaluates, and writes the card.

The whole takes about an hour on two CPU cores. An interrupted run goes on from its last epoch when started again with
the same ``--work`` folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from app.detection.models.training import Evaluation, TrainingPlan
from app.simulation.spec import StreetSpec
from app.simulation.sprites import LABELS
from app.simulation.street import GroundTruth, Street

IMAGE_SIZE = 320
"""Longest side, in pixels, at which the model sees a frame."""
LEAST_VISIBLE = 0.3
"""Objects less visible than this share are not labelled."""
FRAMES_PER_STREET = 4
TRAINING_SEEDS = 100_000
"""Training streets have seeds from here on."""
HELD_OUT_SEEDS = 900_000
"""Streets that only evaluate the model have seeds from here on."""
SHAPES = ((1280, 720), (1280, 720), (640, 360), (960, 540), (960, 720))


@dataclass(frozen=True)
class Scale:
    """How much is drawn and trained."""

    images: int
    held_out: int
    epochs: int
    hours: float | None


def write_dataset(folder: Path, scale: Scale) -> Path:
    """Draw the images and labels of both parts in Ultralytics' layout; return the path of ``data.yaml``."""
    for part, count, seed in (
        ("train", scale.images, TRAINING_SEEDS),
        ("val", scale.held_out, HELD_OUT_SEEDS),
    ):
        (folder / "images" / part).mkdir(parents=True, exist_ok=True)
        (folder / "labels" / part).mkdir(parents=True, exist_ok=True)
        for number, (image, truth) in enumerate(_scenes(count, seed)):
            cv2.imwrite(str(folder / "images" / part / f"{number:05d}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 97])
            (folder / "labels" / part / f"{number:05d}.txt").write_text(truth)
            if sys.stderr.isatty() and number % 100 == 0:
                print(f"\r{part}: {number}/{count}", end="", file=sys.stderr)
    description = folder / "data.yaml"
    content = {
        "path": str(folder.resolve()),
        "train": "images/train",
        "val": "images/val",
        "names": dict(enumerate(LABELS)),
    }
    description.write_text(yaml.safe_dump(content, sort_keys=False))
    return description


def _scenes(count: int, first_seed: int) -> Iterator[tuple[NDArray[np.uint8], str]]:
    """Yield frames as a detector gets them, through JPEG and scaled to the model's size, with their labels."""
    for street_number in range(-(-count // FRAMES_PER_STREET)):
        rng = np.random.default_rng((first_seed, street_number))
        width, height = SHAPES[int(rng.integers(len(SHAPES)))]
        spec = StreetSpec(seed=first_seed + street_number, width=width, height=height, objects=int(rng.integers(1, 13)))
        street = Street(spec)
        for index in rng.integers(0, 20_000, FRAMES_PER_STREET)[: count - street_number * FRAMES_PER_STREET]:
            frame = street.frame(int(index))
            quality = int(rng.integers(70, 96))
            data = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
            shrunk = cv2.resize(image, (IMAGE_SIZE, round(IMAGE_SIZE * height / width)))
            yield np.asarray(shrunk, np.uint8), _label(frame.truth, width, height)


def _label(truth: GroundTruth, width: int, height: int) -> str:
    lines = []
    for box, class_id, visible in zip(truth.boxes, truth.class_ids, truth.visible, strict=True):
        if visible < LEAST_VISIBLE:
            continue
        x1, y1, x2, y2 = box.tolist()
        centre = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height
        lines.append(f"{class_id} {centre[0]:.6f} {centre[1]:.6f} {(x2 - x1) / width:.6f} {(y2 - y1) / height:.6f}")
    return "\n".join(lines)


def main() -> int:
    """Draw, train, evaluate, and write model and card."""
    from app.detection.models import training
    from app.detection.models.exporter import export

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("configs/models/street.pt"))
    parser.add_argument("--work", type=Path, required=True, help="folder for images and checkpoints")
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--held-out", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--hours", type=float, help="end the training after this time")
    given = parser.parse_args()
    scale = Scale(given.images, given.held_out, given.epochs, given.hours)
    dataset = given.work / "data.yaml"
    if not dataset.is_file():
        write_dataset(given.work, scale)
    plan = training.TrainingPlan(
        dataset=dataset,
        runs=given.work / "runs",
        image_size=IMAGE_SIZE,
        epochs=scale.epochs,
        hours=scale.hours,
    )
    checkpoint = training.train(plan)
    training.pack(checkpoint, given.out, dict(enumerate(LABELS)), IMAGE_SIZE)
    export(str(given.out), "openvino")
    evaluation = training.evaluate(given.out, dataset, IMAGE_SIZE, given.work / "runs")
    found = recall_as_used(given.out)
    given.out.with_suffix(".md").write_text(write_card(evaluation, found, plan, scale))
    print(f"{given.out}: mAP50 {evaluation.map50:.3f} on {scale.held_out} held-out images")
    return 0


def recall_as_used(model: Path) -> float:
    """Return the share of the road users at least half visible that is found as the system runs by default.

    Default thresholds, 1280x720 JPEGs of the two demonstration streets; found is the right class at IoU 0.5 or more.
    """
    from app.detection import Detector, DetectorOptions

    detector = Detector(DetectorOptions(str(model), device="cpu"))
    found = drawn = 0
    for seed in (7, 11):
        street = Street(StreetSpec(seed=seed))
        for index in range(0, 4000, 40):
            frame = street.frame(index)
            data = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
            detections = detector.detect([data])[0]
            plain = frame.truth.visible >= 0.5
            for box, class_id in zip(frame.truth.boxes[plain], frame.truth.class_ids[plain], strict=True):
                drawn += 1
                found += bool(np.any(_overlap(box, detections.boxes[detections.class_ids == class_id]) >= 0.5))
    return found / drawn


def _overlap(box: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the intersection over union of one box with each of (N, 4) others."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    both = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return np.asarray(both / (areas - both), np.float32)


def write_card(evaluation: Evaluation, found: float, plan: TrainingPlan, scale: Scale) -> str:
    """Return the model card, with the figures as measured."""
    rows = {"all": (evaluation.precision, evaluation.recall, evaluation.map50, evaluation.map50_95)}
    rows |= evaluation.by_label
    table = "\n".join(f"| {name} | " + " | ".join(f"{one:.3f}" for one in row) + " |" for name, row in rows.items())
    return _CARD.format(
        depth=plan.depth,
        width=plan.width,
        size=plan.image_size,
        images=scale.images,
        held_out=scale.held_out,
        streets=-(-scale.images // FRAMES_PER_STREET),
        training_seeds=TRAINING_SEEDS,
        held_out_seeds=HELD_OUT_SEEDS,
        visible=LEAST_VISIBLE,
        table=table,
        found=found,
        hours=f" --hours {scale.hours:g}" if scale.hours else "",
        epochs=scale.epochs,
    )


_CARD = """# street.pt: the demonstration model

It finds the road users of Sightline's own simulated street (`synthetic://street`), so that the whole system can be seen
at work without a download. It is of no use on real pictures: set `DETECTOR_MODEL` for those.

| | |
|---|---|
| network | YOLO11 (Ultralytics), depth {depth}, width {width}, trained from scratch, half precision |
| input | longest side {size} pixels |
| labels | person, bicycle (with its rider), car, bus, truck |
| trained on | {images} frames of {streets} streets, seeds from {training_seeds} |
| labelled | what is at least {visible:.0%} visible |
| judged on | {held_out} frames of other streets, seeds from {held_out_seeds}, never trained on |
| licence | AGPL-3.0, as Ultralytics' |

Measured by Ultralytics' validator on the held-out frames, by the script that wrote this card:

| label | precision | recall | mAP50 | mAP50-95 |
|---|---|---|---|---|
{table}

As the system runs by default (confidence 0.25, the two demonstration streets at 1280x720 as JPEG), {found:.1%} of the
road users at least half visible are found with the right class at an IoU of 0.5 or more.

`street_openvino_model` is the same network for OpenVINO (`sightline export`), run in its place on the CPU where
`sightline[openvino]` is installed; its `metadata.yaml` holds the digest of the weights that it was made from.

Made by `python -m app.detection.models.train_street --work FOLDER --images {images} --held-out {held_out} --epochs \
{epochs}{hours}`.
"""


if __name__ == "__main__":
    raise SystemExit(main())
