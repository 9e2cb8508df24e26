"""An OpenVINO export on the CPU is run without torch and Ultralytics, and gives what it gives with them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from app.detection import Detector, DetectorOptions
from app.detection.models.gpu_presence import may_have_gpu
from app.detection.models.network import Network
from app.detection.models.opening import open_network
from app.detection.models.openvino_network import OpenVinoNetwork, runs_alone
from app.errors import ModelUnavailable, SettingsError
from tests.support.paths import ROOT
from tests.support.scenes import PICTURES, png

STREET = ROOT / "configs" / "models" / "street.pt"
FOLDER = ROOT / "configs" / "models" / "street_openvino_model"
OPTIONS = DetectorOptions(str(STREET), device="cpu", half=False, confidence=0.05)

ALONE = """
import sys
import cv2, numpy as np
from app.detection import Detector, DetectorOptions
detector = Detector(DetectorOptions(sys.argv[1], device="cpu", threads=2))
detector.warm_up()
picture = cv2.imencode(".jpg", np.full((360, 640, 3), 90, np.uint8))[1].tobytes()
assert all(outcome.error is None for outcome in detector.run([picture] * 3))
print(detector.form, *sorted({"torch", "torchvision", "ultralytics"} & set(sys.modules)))
"""


@pytest.mark.parametrize("model", [STREET, FOLDER], ids=["weights", "folder"])
def test_a_replica_that_runs_an_openvino_export_loads_no_torch(model: Path):
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(model)], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["street_openvino_model"]


def test_it_finds_what_the_same_export_finds_by_way_of_ultralytics():
    alone, other = Detector(OPTIONS), Detector(OPTIONS, make_network=Network)
    assert isinstance(alone._network, OpenVinoNetwork)
    assert isinstance(other._network, Network)
    for name in ("name", "form", "labels", "size", "stride", "rectangular", "layout", "end_to_end"):
        assert getattr(alone._network, name) == getattr(other._network, name), name
    assert alone.device == other.device == "cpu"
    pictures = [png(picture) for picture in PICTURES]
    found, expected = alone.detect(pictures), other.detect(pictures)
    assert sum(map(len, expected)) > 5
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.boxes, theirs.boxes)
        np.testing.assert_array_equal(ours.scores, theirs.scores)
        np.testing.assert_array_equal(ours.class_ids, theirs.class_ids)


def metadata(**changes: object) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "metadata.yaml").read_text())
    for name, value in changes.items():
        (found["args"] if name in found["args"] else found)[name] = value
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "segment"},
        {"channels": 1},
        {"quantize": 8},
        {"int8": True, "args": {"int8": True, "dynamic": True}},
        {"dynamic": False, "batch": 4, "args": {"dynamic": False}},
        {"imgsz": 320},
        {"names": ["car"]},
        {"args": None},
        {"description": "Ultralytics RT-DETR model"},
    ],
    ids=str,
)
def test_an_export_of_another_kind_is_left_to_ultralytics(changes: dict[str, object]):
    assert runs_alone(FOLDER, metadata())
    changed = metadata()
    changed.update(changes) if "args" in changes else changed.update(metadata(**changes))
    assert not runs_alone(FOLDER, changed)


def test_a_quantized_graph_is_left_to_ultralytics_whatever_its_metadata_say(tmp_path: Path):
    folder = tmp_path / "own_openvino_model"
    folder.mkdir()
    (folder / "own.xml").write_text('<layer id="3" type="FakeQuantize"/>')
    assert not runs_alone(folder, metadata())
    assert not runs_alone(tmp_path / "absent_openvino_model", metadata())


def copied(folder: Path, text: str = "", **changes: object) -> Path:
    copy = shutil.copytree(FOLDER, folder / "own_openvino_model")
    (copy / "metadata.yaml").write_text(yaml.safe_dump(metadata(**changes)))
    if text:
        (copy / "street.xml").write_text(text)
    return Path(copy)


def test_other_names_than_it_has_classes_are_refused(tmp_path: Path):
    folder = copied(tmp_path, names={0: "car", 1: "bus"})
    with pytest.raises(ModelUnavailable, match=r"'own_openvino_model' .* for its 2 names"):
        open_network(DetectorOptions(str(folder), device="cpu"))


def test_a_damaged_graph_is_refused_in_one_line(tmp_path: Path):
    with pytest.raises(ModelUnavailable, match=r"'own_openvino_model' cannot be loaded: .* DETECTOR_MODEL") as raised:
        open_network(DetectorOptions(str(copied(tmp_path, "<net")), device="cpu"))
    assert "\n" not in str(raised.value)


def test_a_static_export_has_one_image_size(tmp_path: Path):
    folder = copied(tmp_path, dynamic=False)
    with pytest.raises(SettingsError, match=r"DETECTOR_IMAGE_SIZE\): 640 .* allowed is 320×320"):
        open_network(DetectorOptions(str(folder), device="cpu", image_size=640))


def test_without_a_driver_there_is_no_gpu_and_with_one_of_amd_there_may_be(tmp_path: Path):
    assert not may_have_gpu(cuda="libabsent.so.1", rocm=tmp_path / "absent")
    assert may_have_gpu(cuda="libabsent.so.1", rocm=tmp_path)
