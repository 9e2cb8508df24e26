"""A TensorRT engine beside the weights stands in for them on a GPU, and only where its results are the same."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from app.detection.models.backend import load_or_fall_back
from app.detection.models.exports import DIGEST, ENGINE, Export, Requirements, digest, find_export
from app.errors import ModelUnavailable


def write_engine(weights: Path, **changes: object) -> None:
    """Write what ``yolo export format=engine`` puts before the engine itself, and no engine."""
    arguments = {"dynamic": True, "quantize": 16, "nms": False, "batch": 16}
    metadata: dict[str, object] = {"imgsz": [640, 640], "batch": 16, "end2end": False, "args": arguments}
    for key, value in changes.items():
        (arguments if key in ("dynamic", "quantize", "nms") else metadata)[key] = value
    text = json.dumps(metadata).encode()
    weights.with_suffix(".engine").write_bytes(len(text).to_bytes(4, "little") + text + b"engine")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "own.pt"
    file.write_bytes(b"weights")
    os.utime(file, (0, 0))
    return file


def on_gpu(weights: Path, **required: object) -> Export | None:
    return find_export(weights, Requirements(on_gpu=True, **required), has_runtime=lambda kind: kind == "engine")


def test_on_a_gpu_the_engine_beside_the_weights_stands_in_and_on_the_cpu_it_does_not(weights: Path) -> None:
    write_engine(weights)
    assert on_gpu(weights) == Export(weights.with_suffix(".engine"), ENGINE, 640)
    assert on_gpu(weights, image_size=320) is not None
    assert find_export(weights, Requirements(), has_runtime=lambda kind: True) is None
    assert find_export(weights, Requirements(on_gpu=True), has_runtime=lambda kind: kind != "engine") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"dynamic": False},
        {"quantize": 8},
        {"nms": True},
        {"batch": 1},
        {"end2end": True},
        {"imgsz": []},
        {DIGEST: "of others"},
    ],
    ids=str,
)
def test_an_engine_whose_results_or_speed_would_differ_is_passed_over(
    weights: Path, changes: dict[str, object]
) -> None:
    write_engine(weights, **changes)
    assert on_gpu(weights) is None


def test_an_engine_is_taken_only_for_what_it_can_do(weights: Path) -> None:
    write_engine(weights)
    assert on_gpu(weights, half=False) is None
    assert on_gpu(weights, image_size=1280) is None
    assert on_gpu(weights, nms_free=True) is None
    write_engine(weights, quantize=None, end2end=True)
    assert on_gpu(weights, half=False, nms_free=True) is not None


def test_an_engine_older_than_its_weights_is_passed_over_unless_it_bears_their_digest(weights: Path) -> None:
    write_engine(weights)
    os.utime(weights, (2**32, 2**32))
    assert on_gpu(weights) is None
    write_engine(weights, **{DIGEST: digest(weights)})
    assert on_gpu(weights) is not None


def test_an_engine_of_another_card_gives_way_to_its_weights(weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    def load(file: Path) -> str:
        if file.suffix != ".pt":
            raise ModelUnavailable("built with another TensorRT")
        return file.name

    engine = Export(weights.with_suffix(".engine"), ENGINE, 640)
    assert load_or_fall_back(weights, engine, load) == ("own.pt", None)
    assert "own.pt itself is run" in caplog.text
    assert "another TensorRT" in caplog.text
    assert load_or_fall_back(weights, engine, lambda file: file.name) == ("own.engine", engine)
    with pytest.raises(ModelUnavailable):
        load_or_fall_back(weights, Export(weights.with_suffix(".onnx"), "onnx", 640), load)
