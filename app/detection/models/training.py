"""Training and evaluation of a small YOLO, for the bundled demo model and others like it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from app.errors import ModelUnavailable


@dataclass(frozen=True)
class TrainingPlan:
    """How a model is trained."""

    dataset: Path
    """An Ultralytics dataset description (``data.yaml``)."""
    runs: Path
    """Folder for checkpoints; an interrupted training continues from there."""
    depth: float = 0.33
    width: float = 0.125
    """YOLO11 scaled by these gives 0.5 M parameters (the published ``n`` has 0.50 and 0.25)."""
    image_size: int = 320
    epochs: int = 30
    hours: float | None = None
    """Ends the training after this time, whatever the epochs."""
    batch: int = 32
    seed: int = 0


@dataclass(frozen=True)
class Evaluation:
    """The figures of a model on images that it was not trained on, by Ultralytics' validator."""

    precision: float
    recall: float
    map50: float
    map50_95: float
    by_label: Mapping[str, tuple[float, float, float, float]]
    """Precision, recall, mAP50 and mAP50-95 of each label."""


def train(plan: TrainingPlan) -> Path:
    """Train from scratch, or continue an interrupted training; return the last checkpoint.

    Raises:
        ModelUnavailable: the training ended without a checkpoint.
    """
    from ultralytics import YOLO

    last = plan.runs / "train" / "weights" / "last.pt"
    if last.is_file():
        YOLO(str(last)).train(resume=True)
    else:
        YOLO(str(_write_network(plan))).train(
            data=str(plan.dataset),
            imgsz=plan.image_size,
            epochs=plan.epochs,
            time=plan.hours,
            batch=plan.batch,
            seed=plan.seed,
            project=str(plan.runs),
            name="train",
            exist_ok=True,
            device="cpu",
            workers=0,  # the images lie decoded in memory
            cache="ram",
            optimizer="AdamW",
            lr0=0.003,
            lrf=0.02,
            cos_lr=True,
            warmup_epochs=1.0,
            mosaic=0.5,
            close_mosaic=3,
            scale=0.35,
            fliplr=0.5,
            hsv_h=0.02,
            amp=False,  # its check would download weights
            plots=False,
            val=False,  # evaluated once, at the end, on images of their own
        )
    if not last.is_file():
        raise ModelUnavailable(f"the training left no checkpoint in {plan.runs}")
    return last


def pack(checkpoint: Path, out: Path, labels: Mapping[int, str], image_size: int) -> None:
    """Write a checkpoint's averaged weights in half precision, without optimizer, paths or machine."""
    import torch

    content = torch.load(checkpoint, map_location="cpu", weights_only=False)
    model = (content.get("ema") or content["model"]).half()
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.names = dict(labels)
    model.args = {"task": "detect", "imgsz": image_size}
    model.yaml = {key: value for key, value in model.yaml.items() if key != "yaml_file"}
    for stray in ("pt_path", "yaml_file", "criterion"):
        if hasattr(model, stray):
            setattr(model, stray, None)
    packed: dict[str, Any] = {
        "model": model,
        "train_args": dict(model.args),
        "epoch": -1,
        "version": content.get("version"),
        "license": "AGPL-3.0 License (https://ultralytics.com/license)",
    }
    buffer = io.BytesIO()
    torch.save(packed, buffer)
    out.write_bytes(buffer.getvalue())


def evaluate(model: Path, dataset: Path, image_size: int, runs: Path) -> Evaluation:
    """Evaluate a model on a dataset's ``val`` images."""
    from ultralytics import YOLO

    figures = YOLO(str(model)).val(
        data=str(dataset),
        imgsz=image_size,
        device="cpu",
        workers=0,
        plots=False,
        verbose=False,
        project=str(runs),
        name="val",
        exist_ok=True,
    )
    box = figures.box
    return Evaluation(
        precision=float(box.mp),
        recall=float(box.mr),
        map50=float(box.map50),
        map50_95=float(box.map),
        by_label={
            figures.names[int(class_id)]: _four(box.class_result(index))
            for index, class_id in enumerate(box.ap_class_index)
        },
    )


def _four(figures: Iterable[float]) -> tuple[float, float, float, float]:
    precision, recall, map50, map50_95 = (float(figure) for figure in figures)
    return precision, recall, map50, map50_95


def _write_network(plan: TrainingPlan) -> Path:
    import ultralytics

    published = Path(ultralytics.__file__).parent / "cfg" / "models" / "11" / "yolo11.yaml"
    network = yaml.safe_load(published.read_text())
    network["scales"] = {"d": [plan.depth, plan.width, 1024]}
    path = plan.runs / "street.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(network, sort_keys=False))
    return path
