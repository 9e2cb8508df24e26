"""An export beside the weights stands in for them on the CPU, and only where its results are the same."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.detection import Detector, DetectorOptions
from app.detection.detections import Detections
from app.detection.models.exporter import export
from app.detection.models.exports import Requirements, export_path, find_export
from app.errors import ModelUnavailable, SettingsError
from app.simulation.spec import StreetSpec
from app.simulation.street import Street
from tests.support.paths import ROOT
from tests.support.scenes import PICTURES, png, predict, scene

STREET = ROOT / "configs" / "models" / "street.pt"
MADE = [
    "street-onnx",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("street-openvino", "yolo11-openvino", "yolo11-onnx", "yolo26-openvino")
    ),
]
JPEGS = [
    cv2.imencode(".jpg", Street(StreetSpec(seed=7, width=width, height=height)).frame(frame).image)[1].tobytes()
    for frame, (width, height) in enumerate([(1280, 720), (640, 360), (640, 480), (360, 640), (1280, 720)])
]


class Exports(dict[str, Path]):
    """The weights of each model with one export beside them, by model and kind; made when it is first asked for."""

    def __init__(self, models: dict[str, Path], folders: pytest.TempPathFactory) -> None:
        super().__init__()
        self._models = models
        self._folders = folders

    def __missing__(self, name: str) -> Path:
        stem, kind = name.split("-")
        weights = STREET if stem == "street" else self._models[f"{stem}.pt"]
        self[name] = Path(shutil.copy(weights, self._folders.mktemp(name)))
        export(str(self[name]), kind)
        return self[name]


@pytest.fixture(scope="module")
def exported(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Exports:
    return Exports(models, tmp_path_factory)


def copy_of(weights: Path, folder: Path) -> Path:
    shutil.copytree(weights.parent, folder, dirs_exist_ok=True)
    return folder / weights.name


@pytest.mark.parametrize("name", MADE)
def test_an_export_finds_what_its_weights_find(exported: Exports, name: str) -> None:
    weights, kind = exported[name], name.split("-")[1]
    options = {"model": str(weights), "device": "cpu", "confidence": 0.1}
    pictures = JPEGS + [png(picture) for picture in PICTURES]
    own, other = (
        Detector(DetectorOptions(**options, use_export=False)),
        Detector(DetectorOptions(**options, half=False)),
    )
    assert (own.form, other.form) == (weights.name, export_path(weights, kind).name)
    assert own.model_name == other.model_name == weights.name
    other.warm_up()
    expected = own.detect(pictures)
    assert sum(map(len, expected)) > 20
    # Untrained networks give many boxes a score of 1.0 to the last digit, and which of those NMS keeps is chance.
    allowed = 0.0 if name.startswith("street") else 0.03
    for found in (other.detect(pictures), [other.detect([picture])[0] for picture in pictures]):
        strays = sum(without_counterpart(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
        assert strays <= allowed * sum(map(len, expected))


@pytest.mark.parametrize("made", ["shipped", pytest.param("here", marks=pytest.mark.slow)])
def test_an_export_in_what_its_cpu_is_fastest_at_finds_the_same_objects_of_a_trained_model(
    exported: Exports, made: str
) -> None:
    options = {"model": str(STREET if made == "shipped" else exported["street-openvino"]), "device": "cpu"}
    own, other = Detector(DetectorOptions(**options, use_export=False)), Detector(DetectorOptions(**options))
    assert (own.form, other.form) == ("street.pt", "street_openvino_model")
    expected, found = own.detect(JPEGS), other.detect(JPEGS)
    assert sum(map(len, expected)) > 20
    strays = sum(
        without_counterpart(ours, theirs, iou=0.75, score_step=0.05)
        for ours, theirs in zip(found, expected, strict=True)
    )
    assert strays <= 1  # one whose score is just at the threshold


def without_counterpart(ours: Detections, theirs: Detections, iou: float = 0.98, score_step: float = 0.01) -> int:
    """Count what has none of the same class in the same place with the same score."""
    strays, left = 0, set(range(len(theirs)))
    for box, score, label in zip(ours.boxes, ours.scores, ours.class_ids, strict=True):
        near = [
            index
            for index in left
            if theirs.class_ids[index] == label
            and abs(theirs.scores[index] - score) < score_step
            and overlap(box, theirs.boxes[index]) > iou
        ]
        strays += not near
        left -= set(near[:1])
    return strays + len(left)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    sides = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None)
    both = float(np.prod(sides))
    union = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - both
    return both / union if union else float(np.allclose(one, other))


def test_an_openvino_folder_named_outright_finds_what_predict_finds_with_its_weights() -> None:
    folder = export_path(STREET, "openvino")
    for half in (False, True):  # predict on the folder itself computes in BF16 where the CPU has it
        detector = Detector(DetectorOptions(str(folder), device="cpu", image_size=320, half=half))
        assert (detector.model_name, detector.form) == (folder.name, folder.name)
        for data in JPEGS[:2]:
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            found, expected = detector.detect([png(picture)])[0], predict(STREET, picture)
            assert half or not without_counterpart(found, expected)
            assert abs(len(found) - len(expected)) <= 1


def test_the_log_says_once_that_the_export_is_run(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "app.detection"):
        Detector(DetectorOptions(str(STREET), device="cpu"))
    assert [record.getMessage() for record in caplog.records] == [
        "street.pt runs as its export street_openvino_model; use_export: false runs the .pt itself"
    ]


def test_an_export_of_other_weights_is_passed_over_however_new(exported: Exports, tmp_path: Path) -> None:
    for kind in ("openvino", "onnx"):
        weights = copy_of(exported[f"yolo11-{kind}"], tmp_path / kind)
        assert find_export(weights, Requirements()) is not None
        os.utime(weights, (0, 0))
        assert find_export(weights, Requirements()) is not None
        with weights.open("ab") as file:
            file.write(b"trained on")
        os.utime(weights, (0, 0))
        assert find_export(weights, Requirements()) is None


def test_an_export_made_by_another_tool_must_be_newer_than_the_weights(exported: Exports, tmp_path: Path) -> None:
    weights = copy_of(exported["yolo11-openvino"], tmp_path)
    metadata = export_path(weights, "openvino") / "metadata.yaml"
    metadata.write_text("".join(line for line in metadata.open() if "sightline" not in line))
    os.utime(weights, (0, 0))
    assert find_export(weights, Requirements()) is not None
    os.utime(weights, (2**32, 2**32))
    assert find_export(weights, Requirements()) is None


@pytest.mark.parametrize("change", [("dynamic: true", "dynamic: false"), ("quantize: null", "quantize: 8")])
def test_an_export_whose_results_would_differ_is_passed_over(
    exported: Exports, tmp_path: Path, change: tuple[str, str]
) -> None:
    weights = copy_of(exported["yolo11-openvino"], tmp_path)
    metadata = export_path(weights, "openvino") / "metadata.yaml"
    assert change[0] in metadata.read_text()
    metadata.write_text(metadata.read_text().replace(*change))
    assert find_export(weights, Requirements()) is None


def test_the_nms_free_head_is_not_replaced_by_an_export_of_the_other(exported: Exports) -> None:
    assert find_export(exported["yolo26-openvino"], Requirements()) is not None
    assert find_export(exported["yolo26-openvino"], Requirements(nms_free=True)) is None


def test_without_its_runtime_an_export_is_passed_over(exported: Exports, tmp_path: Path) -> None:
    weights = copy_of(exported["yolo11-openvino"], tmp_path)
    copy_of(exported["yolo11-onnx"], tmp_path)
    for runtimes, kind in ((("openvino", "onnx"), "openvino"), (("onnx",), "onnx")):
        chosen = find_export(weights, Requirements(), has_runtime=lambda asked, there=runtimes: asked in there)
        assert chosen is not None
        assert chosen.kind == kind
    assert find_export(weights, Requirements(), has_runtime=lambda kind: False) is None


def test_a_damaged_export_is_passed_over(exported: Exports, tmp_path: Path) -> None:
    weights = copy_of(exported["yolo11-onnx"], tmp_path)
    export_path(weights, "onnx").write_bytes(b"half a fi")
    assert Detector(DetectorOptions(str(weights), device="cpu")).form == "yolo11.pt"


@pytest.mark.parametrize("kind", ["openvino", "onnx"])
def test_faults_stay_with_their_images_and_cores_are_as_many_as_asked(exported: Exports, kind: str) -> None:
    for threads in (1, 2):
        options = DetectorOptions(str(exported[f"yolo11-{kind}"]), device="cpu", threads=threads)
        detector = Detector(options)
        good = png(scene(320, 180, 1))
        outcomes = detector.run([b"", good, good[:-20], good])
        assert [outcome.error is None for outcome in outcomes] == [False, True, False, True]
        np.testing.assert_array_equal(outcomes[1].detections.boxes, outcomes[3].detections.boxes)
        assert min(outcomes[1].decode_ms, outcomes[1].inference_ms) > 0
        assert detector._network.session.threads == threads
        detector.close()


def test_an_export_again_replaces_the_one_before_and_leaves_nothing_else(exported: Exports, tmp_path: Path) -> None:
    weights = copy_of(exported["yolo11-openvino"], tmp_path)
    before = export_path(weights, "openvino").stat().st_ino
    assert export(str(weights), "openvino").stat().st_ino != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["yolo11.pt", "yolo11_openvino_model"]


def test_what_cannot_be_exported_is_refused_in_one_line(models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "notes.pt").write_text("hello")
    for model, kind, error in (
        (models["yolo11.pt"], "engine", SettingsError),
        (models["yolo11-static.onnx"], "onnx", SettingsError),
        (tmp_path / "absent.pt", "onnx", SettingsError),
        (models["segment.pt"], "onnx", ModelUnavailable),
        (tmp_path / "notes.pt", "openvino", ModelUnavailable),
    ):
        with pytest.raises(error) as raised:
            export(str(model), kind)
        assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.pt"]


def test_openvino_cannot_report_its_use(exported: Exports) -> None:
    import openvino.tools.ovc.telemetry_utils as used

    assert sys.modules["openvino_telemetry"] is None
    assert used.tm.__name__ == "openvino.tools.ovc.telemetry_stub"
