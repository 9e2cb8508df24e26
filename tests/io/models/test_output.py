"""The output of a model, recognised when it is loaded: on files of other YOLOs, of other tasks and with wrong names."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from app.cli.checks import State, check_system
from app.core.wanted import Wanted
from app.detection import Detector, DetectorOptions
from app.detection.models.check import check_model
from app.errors import ModelUnavailable, SettingsError
from app.settings.loading import load_settings
from app.settings.serve_config import ServePorts
from tests.support.rows import Rows
from tests.support.scenes import SIZE, png, scene

REFUSED = "refused in one line"
PICTURE = png(scene(SIZE, SIZE, 1))
ANCHORS = 3 * ((SIZE // 8) ** 2 + (SIZE // 16) ** 2 + (SIZE // 32) ** 2)


class YoloV5(torch.nn.Module):
    """What the head of a YOLOv5 returns of one frame: (1, anchors, 5 + classes), one object, all else background."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        table = torch.full((1, ANCHORS, 5 + classes), 0.01)
        table[..., :4] = torch.tensor([80.0, 80.0, 12.0, 12.0])
        table[0, 700, :5] = torch.tensor([60.0, 50.0, 40.0, 20.0, 0.9])
        table[0, 700, 4 + classes] = 0.8
        self.register_buffer("table", table)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.table + 0 * images.mean()


def write_onnx(module: torch.nn.Module, file: Path, names: int | None) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is deprecated
        torch.onnx.export(
            module.eval(), (torch.zeros(1, 3, SIZE, SIZE),), str(file), input_names=["images"], dynamo=False
        )
    with_names(file, file, names)
    return file


def with_names(source: Path, target: Path, names: int | None) -> Path:
    """Write an ONNX file with so many names as its only metadata; none: without metadata."""
    model = onnx.load(str(source))
    del model.metadata_props[:]
    if names is not None:
        model.metadata_props.add(key="names", value=str({number: f"name{number}" for number in range(names)}))
        model.metadata_props.add(key="stride", value="32")
    onnx.save(model, str(target))
    return target


def refusal(file: Path, **options: object) -> str:
    with pytest.raises(ModelUnavailable) as raised:
        Detector(DetectorOptions(str(file), device="cpu", **options))
    text = str(raised.value)
    assert file.name in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("classes", [1, 3, 80])
@pytest.mark.parametrize("named", [True, False])
def test_a_yolov5_is_decoded_as_such(tmp_path: Path, classes: int, named: bool, rows: Rows) -> None:
    file = write_onnx(YoloV5(classes), tmp_path / "v5.onnx", classes if named else None)
    detector = Detector(DetectorOptions(str(file), device="cpu"))
    detector.warm_up()
    for found in (*detector.detect([PICTURE, PICTURE]), *detector.detect([PICTURE])):
        np.testing.assert_allclose(found.boxes, [[40, 40, 80, 60]], atol=0.01)
        np.testing.assert_allclose(found.scores, [0.72], atol=1e-4)  # of the object times of the class
        assert found.class_ids.tolist() == [classes - 1]
    assert len(detector.labels) == classes
    assert detector.labels[classes - 1] == ("name" if named else "class") + str(classes - 1)
    rows.add("model", "YOLOv5 ONNX of 1, 3 and 80 classes, with names and without", "decoded as such")


def test_a_yolov5_of_other_classes_than_its_names_is_refused(tmp_path: Path, rows: Rows) -> None:
    assert f"(1, {ANCHORS}, 85)" in refusal(write_onnx(YoloV5(80), tmp_path / "v5.onnx", 3))
    rows.add("model", "YOLOv5 ONNX with fewer names than classes", REFUSED)


def test_rows_of_six_that_end_in_no_class_are_no_final_detections(tmp_path: Path) -> None:
    class Six(YoloV5):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images)[:, 600:800]  # not the anchors of any head

    assert "no class id" in refusal(write_onnx(Six(1), tmp_path / "six.onnx", None))


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("seg", "segmentation model"),
        pytest.param("pose", "outside 0 to 1", marks=pytest.mark.slow),
        pytest.param("obb", "OBB model", marks=pytest.mark.slow),
    ],
)
def test_a_model_for_another_task_that_does_not_say_so_is_refused_at_load_by_doctor_and_by_up(
    other_tasks: dict[str, Path], tmp_path: Path, task: str, reason: str, rows: Rows
) -> None:
    file = with_names(other_tasks[task], tmp_path / "bare.onnx", None)
    assert reason in refusal(file)
    settings = load_settings({"DETECTOR_MODEL": str(file), "DETECTOR_DEVICE": "cpu"})
    finding = next(check_system(settings, ServePorts(grpc=9000, http=8000)))
    assert finding.state is State.FAILED
    assert reason in finding.detail
    with pytest.raises(ModelUnavailable, match=reason):
        check_model(DetectorOptions.of(settings.detector))
    rows.add("model", f"for another task ({task}), without metadata", f"{REFUSED}, by `doctor` and by `up`")


def test_a_model_that_can_be_used_passes_the_check_of_up(models: dict[str, Path]) -> None:
    options = DetectorOptions(str(models["yolo11-static.onnx"]), device="cpu")
    check_model(options, {"gate": Wanted(0.4, ("car", "person"))})


@pytest.mark.slow
def test_a_label_of_a_camera_that_the_model_has_not_is_named_with_the_camera_by_up(models: dict[str, Path]) -> None:
    options = DetectorOptions(str(models["yolo11-static.onnx"]), device="cpu")
    with pytest.raises(SettingsError, match=r"^camera yard: classes: 'dog' is no label of yolo11-static\.onnx"):
        check_model(options, {"gate": Wanted(classes=("car",)), "yard": Wanted(classes=("dog",))})


@pytest.mark.parametrize("name", ["yolo11-static.onnx", "yolo26-static.onnx"])
@pytest.mark.parametrize("names", [2, 4])
def test_other_names_than_the_output_has_classes_are_refused(
    models: dict[str, Path], tmp_path: Path, name: str, names: int, rows: Rows
) -> None:
    assert f"for its {names} names" in refusal(with_names(models[name], tmp_path / name, names))
    rows.add("model", "other names than the output has classes", REFUSED)


def test_fewer_names_than_a_final_output_reports_classes_are_refused(models: dict[str, Path], tmp_path: Path) -> None:
    file = with_names(models["yolo26-free.onnx"], tmp_path / "free.onnx", 1)
    assert "has 1 names" in refusal(file, image_size=SIZE)


def test_fewer_names_than_a_checkpoint_has_classes_are_refused(models: dict[str, Path], tmp_path: Path) -> None:
    checkpoint = torch.load(models["yolo11.pt"], map_location="cpu", weights_only=False)
    checkpoint["model"].names = {0: "car", 1: "bus"}
    torch.save(checkpoint, tmp_path / "few.pt")
    assert "for its 2 names" in refusal(tmp_path / "few.pt")


# The size


@pytest.mark.parametrize("name", ["yolo11-dynamic.onnx", "yolo11-static.onnx", "yolo11.pt"])
def test_a_model_runs_at_the_size_that_it_was_made_for(models: dict[str, Path], name: str, rows: Rows) -> None:
    detector = Detector(DetectorOptions(str(models[name]), device="cpu"))
    assert detector._network.size == (SIZE, SIZE)
    rows.add("model", "a checkpoint, a static and a dynamic export", "run at the size that they were made for")


def test_a_dynamic_export_runs_at_the_size_of_the_setting_and_a_static_one_refuses_another(
    models: dict[str, Path], rows: Rows
) -> None:
    def made(name: str) -> Detector:
        settings = load_settings({"DETECTOR_MODEL": str(models[name]), "DETECTOR_IMAGE_SIZE": "96"})
        return Detector(DetectorOptions.of(settings.detector, device="cpu"))

    assert made("yolo11-dynamic.onnx")._network.size == (96, 96)
    with pytest.raises(SettingsError, match=rf"DETECTOR_IMAGE_SIZE\): 96 .* allowed is {SIZE}×{SIZE}"):
        made("yolo11-static.onnx")
    rows.add(
        "model",
        "`DETECTOR_IMAGE_SIZE`",
        "a dynamic export runs at it; a static one of another size is refused in one line",
    )


# The limit


@pytest.mark.parametrize("name", ["yolo11.pt", "yolo11-dynamic.onnx", "yolo26-free.onnx"])
def test_a_frame_that_reached_the_limit_of_detections_is_marked(models: dict[str, Path], name: str, rows: Rows) -> None:
    whole = Detector(DetectorOptions(str(models[name]), device="cpu")).detect([PICTURE])[0]
    assert not whole.truncated
    limit = len(whole) - 1
    assert limit > 0
    cut = Detector(DetectorOptions(str(models[name]), device="cpu", max_detections=limit)).detect([PICTURE])[0]
    assert cut.truncated
    np.testing.assert_allclose(cut.scores, whole.scores[:limit], rtol=1e-4)
    rows.add("model", "`DETECTOR_MAX_DETECTIONS` is reached", "the best ones; the frame is marked")


def test_the_limit_that_a_head_has_of_its_own_marks_a_frame_too(models: dict[str, Path]) -> None:
    options = DetectorOptions(str(models["yolo26-free.onnx"]), device="cpu", confidence=0.0, max_detections=1000)
    found = Detector(options).detect([PICTURE])[0]
    assert (len(found), found.truncated) == (300, True)
