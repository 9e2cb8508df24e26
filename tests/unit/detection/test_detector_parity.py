"""Our results equal those of Ultralytics' own ``predict`` on the same picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from app.detection import Detector, DetectorOptions
from app.simulation.spec import StreetSpec
from app.simulation.street import Street
from tests.support.agreement import agree
from tests.support.contestant_model import Model
from tests.support.paths import ROOT
from tests.support.scenes import PICTURES, SIZE, png, predict

STREET = ROOT / "configs" / "models" / "street.pt"
NAMES = [
    "yolo11.pt",
    "yolo11-dynamic.onnx",
    "yolo11-static.onnx",
    "yolo11-batch4.onnx",
    "yolo26.pt",
    "yolo26-static.onnx",
    "yolo26-free.onnx",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_mixed_sizes_equals_predict_on_each_picture(models: dict[str, Path], name: str) -> None:
    detector = Detector(DetectorOptions(model=str(models[name]), device="cpu"))
    found = detector.detect([png(picture) for picture in PICTURES])
    assert sum(map(len, found)) > 20
    assert any(0.3 < score < 0.9 for each in found for score in each.scores)
    # Of itself predict runs an export of any size at 640, whatever it was made for.
    options = {"imgsz": SIZE} if name in ("yolo11-dynamic.onnx", "yolo26-free.onnx") else {}
    for ours, picture in zip(found, PICTURES, strict=True):
        agree(ours, predict(models[name], picture, **options))
        assert (np.diff(ours.scores) <= 0).all()
        assert ours.boxes.dtype == ours.scores.dtype == np.float32
        assert (ours.boxes >= 0).all()
        assert (ours.boxes <= np.tile(picture.shape[1::-1], 2)).all()


def test_thresholds_classes_and_the_limit_are_those_of_predict(models: dict[str, Path]) -> None:
    options = DetectorOptions(
        model=str(models["yolo11.pt"]), confidence=0.05, iou=0.4, classes=("person", "car"), max_detections=15
    )
    found = Detector(options).detect([png(PICTURES[0])])[0]
    agree(found, predict(models["yolo11.pt"], PICTURES[0], conf=0.05, iou=0.4, classes=[0, 2], max_det=15))
    assert set(found.class_ids.tolist()) <= {0, 2}
    assert len(found) == 15


def test_another_image_size_is_that_of_predict(models: dict[str, Path]) -> None:
    for name in ("yolo11.pt", "yolo11-dynamic.onnx"):
        found = Detector(DetectorOptions(model=str(models[name]), image_size=256)).detect([png(PICTURES[3])])[0]
        agree(found, predict(models[name], PICTURES[3], imgsz=256))


def test_the_nms_free_head_is_that_of_predict(models: dict[str, Path]) -> None:
    options = DetectorOptions(model=str(models["yolo26.pt"]), nms_free=True, confidence=0.3)
    found = Detector(options).detect([png(PICTURES[0])])[0]
    assert len(found) > 3
    agree(found, predict(models["yolo26.pt"], PICTURES[0], conf=0.3, nms=False))


def test_a_jpeg_with_an_orientation_is_detected_upright(models: dict[str, Path]) -> None:
    import io

    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.fromarray(PICTURES[0]).save(stream, "JPEG", exif=exif)
    upright = cv2.imdecode(np.frombuffer(stream.getvalue(), np.uint8), cv2.IMREAD_COLOR)
    outcome = Detector(DetectorOptions(model=str(models["yolo11.pt"]))).run([stream.getvalue()])[0]
    assert (outcome.width, outcome.height) == (180, 320)
    assert outcome.detections is not None
    agree(outcome.detections, predict(models["yolo11.pt"], upright))


def test_the_demo_model_equals_predict() -> None:
    found = Detector(DetectorOptions(model=str(STREET), confidence=0.05, use_export=False)).detect(
        [png(p) for p in PICTURES]
    )
    for ours, picture in zip(found, PICTURES, strict=True):
        agree(ours, predict(STREET, picture, conf=0.05))


@pytest.mark.parametrize("use_export", [False, True])
def test_a_jpeg_decoded_small_shows_the_objects_of_the_whole_picture_in_pixels_of_the_whole(use_export: bool) -> None:
    detector = Detector(DetectorOptions(model=str(STREET), device="cpu", use_export=use_export))
    street = Street(StreetSpec(seed=7, width=2560, height=1440))
    jpegs = [cv2.imencode(".jpg", street.frame(number * 40).image)[1] for number in range(6)]
    outcomes = detector.run([jpeg.tobytes() for jpeg in jpegs])
    whole = detector.detect([png(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)) for jpeg in jpegs])
    assert {(outcome.width, outcome.height) for outcome in outcomes} == {(2560, 1440)}
    pairs = 0
    for outcome, expected in zip(outcomes, whole, strict=True):
        assert outcome.detections is not None
        for box, score, label in zip(expected.boxes, expected.scores, expected.class_ids, strict=True):
            if score > 0.5:
                alike = outcome.detections.boxes[outcome.detections.class_ids == label]
                # One pixel of the model's input is eight of the source.
                assert np.abs(alike - box).max(1).min() < 24
                pairs += 1
    assert pairs > 15


@pytest.mark.slow
def test_the_model_of_the_benchmark_s_other_contestants_sees_what_sightline_sees() -> None:
    before = torch.get_num_threads()
    try:
        model = Model(str(STREET), threads=1)
        seen, milliseconds = model.run(PICTURES[:1] * 2)
    finally:
        torch.set_num_threads(before)
    found = Detector(DetectorOptions(model=str(STREET), device="cpu")).detect([png(PICTURES[0])] * 2)
    assert [len(numbers) for numbers in seen] == [4 * len(each) for each in found]
    street = Street(StreetSpec(seed=7, width=640, height=360)).frame(40).image
    assert model.run([street])[0][0]
    assert milliseconds > 0
