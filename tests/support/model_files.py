"""Fixtures: tiny networks with fixed weights, made once a session; nothing is downloaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.scenes import SIZE, scene


def _network_file(folder: Path, family: str, task: str = "") -> Path:
    """Write a checkpoint of a scaled-down network whose head is biased to see much."""
    from app.detection.ultralytics_guard import import_ultralytics  # it loads torch, which most tests do not need

    import_ultralytics()
    import torch
    import yaml
    from ultralytics import YOLO
    from ultralytics.utils import ROOT

    name = f"yolo{family}{task}"
    spec = yaml.safe_load((ROOT / f"cfg/models/{family}/{name}.yaml").read_text())
    spec["scales"] = {"n": [0.33, 0.125, 512]}
    spec["nc"] = 3
    description = folder / f"{name}.yaml"
    description.write_text(yaml.safe_dump(spec))
    torch.manual_seed(11)
    model = YOLO(str(description))
    if not task:
        _provoke(model.model)
    model.ckpt = {"train_args": {"imgsz": SIZE, "task": model.task}}
    file = folder / f"{name}.pt"
    model.save(file)
    return file


def _provoke(network) -> None:
    """Spread the class scores over (0, 1): without training every anchor scores the same."""
    import torch

    random = torch.Generator().manual_seed(5)
    network.names = {0: "car", 1: "bus", 2: "person"}
    pictures = torch.stack([torch.from_numpy(scene(SIZE, SIZE, seed)) for seed in range(4)])
    pictures = pictures.permute(0, 3, 1, 2).float() / 255
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # one pass in training mode, and no layer's signal fades away
    head = network.model[-1]
    layers = [each[-1] for name in ("cv3", "one2one_cv3") for each in getattr(head, name, [])]
    with torch.no_grad():
        network.train()(pictures)
        for layer in layers:
            layer.weight.data = torch.randn(layer.weight.shape, generator=random)
            layer.register_forward_hook(_normalise)
        network.eval()(pictures)
    for layer in layers:
        layer._forward_hooks.clear()


def _normalise(layer, _inputs, output) -> None:
    """Scale a layer so that what it gave becomes logits of mean -3 and deviation 1.5."""
    mean, deviation = output.mean((0, 2, 3)), output.std((0, 2, 3))
    layer.bias.data = (layer.bias.data - mean) * 1.5 / deviation - 3
    layer.weight.data *= (1.5 / deviation)[:, None, None, None]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the tiny checkpoints of the YOLO11 and the YOLO26 shape by name; torch runs on one core from then on."""
    import torch

    torch.set_num_threads(1)  # threads of networks so small wait for each other longer than they compute
    folder = tmp_path_factory.mktemp("models")
    return {f"yolo{family}.pt": _network_file(folder, family) for family in ("11", "26")}


@pytest.fixture(scope="session")
def models(checkpoints: dict[str, Path]) -> dict[str, Path]:
    """Return each tiny model by name: the checkpoints, one for another task, and exports."""
    files = dict(checkpoints)
    files["segment.pt"] = _network_file(files["yolo11.pt"].parent, "11", "-seg")
    files["yolo11-dynamic.onnx"] = _export(files["yolo11.pt"], "dynamic", dynamic=True)
    files["yolo11-static.onnx"] = _export(files["yolo11.pt"], "static")
    files["yolo11-batch4.onnx"] = _export(files["yolo11.pt"], "batch4", batch=4)
    files["yolo26-static.onnx"] = _export(files["yolo26.pt"], "static")
    files["yolo26-free.onnx"] = _export(files["yolo26.pt"], "free", dynamic=True, nms=False)
    return files


@pytest.fixture(scope="session")
def other_tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return exports of models for other tasks, by task."""
    folder = tmp_path_factory.mktemp("tasks")
    return {task: _export(_network_file(folder, "11", f"-{task}"), "other") for task in ("seg", "pose", "obb")}


def _export(checkpoint: Path, label: str, **options: object) -> Path:
    from ultralytics import YOLO

    copy = checkpoint.with_name(f"{checkpoint.stem}-{label}.pt")
    shutil.copy(checkpoint, copy)
    return Path(YOLO(str(copy)).export(format="onnx", imgsz=SIZE, simplify=False, **options))
