"""The model path against Ultralytics' ``predict``: JPEG bytes in, boxes out, the same images, weights and form.

``python -m tests.benchmarks.model_path`` prints a table of ratios (ours ÷ predict, in images per second; over 1 is
faster). Each side is a process of its own, so that neither lives with the other's thread settings; they take turns,
round by round, and a cell is the ratio of the medians of its rounds. Forms:

* ``pt``, ``onnx``, ``openvino``: the detector and ``predict`` are both given that file, and both compute an OpenVINO
  export in BF16 where the CPU has it;
* ``shipped``: the detector is given the ``.pt`` with its exports beside it, ``predict`` the ``.pt``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"640x360": (640, 360), "1280x720": (1280, 720), "1920x1080": (1920, 1080)}
FORMS = ("pt", "onnx", "openvino", "shipped")
PICTURES = 16
QUALITY = 85


@dataclass(frozen=True)
class Cell:
    """One comparison; times in milliseconds an image."""

    model: str
    form: str
    size: str
    batch: int
    ours_ms: float
    predict_ms: float
    ratio: float
    spread: tuple[float, float]
    """The least and the greatest ratio of a round."""
    cpu_ratio: float
    """The same ratio of the processor time of all threads, which other programs on the machine disturb less."""


@dataclass(frozen=True)
class Cost:
    """Milliseconds an image."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Task:
    """What a worker is asked to do once."""

    size: str
    batch: int
    seconds: float


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["street", "yolo26n"], choices=["street", "yolo26n"])
    parser.add_argument("--forms", nargs="+", default=list(FORMS), choices=FORMS)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.6, help="of one side's turn")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", nargs=2, metavar=("SIDE", "FILE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        return _work(*given.worker)
    cells = []
    with tempfile.TemporaryDirectory() as folder:
        for model in given.models:
            for form in given.forms:
                for cell in _compare(model, form, Path(folder), given):
                    cells.append(cell)
                    if not given.json:
                        print(_line(cell), flush=True)
    if given.json:
        print(json.dumps({"machine": machine(), "cells": [asdict(cell) for cell in cells]}))
    else:
        print("\n" + table(cells) + "\n\n" + machine())
    return 0


def _line(cell: Cell) -> str:
    low, high = cell.spread
    return (
        f"{cell.model:8} {cell.form:9} {cell.size:10} batch {cell.batch:<3} ours {cell.ours_ms:7.2f} ms  "
        f"predict {cell.predict_ms:7.2f} ms  ratio {cell.ratio:5.2f}  "
        f"({low:.2f} to {high:.2f})  of CPU time {cell.cpu_ratio:5.2f}"
    )


def table(cells: Sequence[Cell]) -> str:
    """Return the ratios (and those of CPU time) as Markdown, a row a model, form and size and a column a batch."""
    batches = sorted({cell.batch for cell in cells})
    rows = dict.fromkeys((cell.model, cell.form, cell.size) for cell in cells)
    cells_of = {(cell.model, cell.form, cell.size, cell.batch): cell for cell in cells}
    lines = ["| model | form | images | " + " | ".join(f"batch {batch}" for batch in batches) + " |"]
    lines.append("|---" * (3 + len(batches)) + "|")
    for row in rows:
        chosen = [cells_of[(*row, batch)] for batch in batches]
        lines.append("| " + " | ".join([*row, *(f"{each.ratio:.2f} ({each.cpu_ratio:.2f})" for each in chosen)]) + " |")
    return "\n".join(lines)


def machine() -> str:
    """Describe the machine and the versions that count."""
    from importlib.metadata import PackageNotFoundError, version

    def named(package: str) -> str:
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            return f"no {package}"

    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    packages = ", ".join(map(named, ("ultralytics", "torch", "openvino", "onnxruntime")))
    return f"{len(os.sched_getaffinity(0))} cores of {cpu}, Python {platform.python_version()}, {packages}"


def _compare(model: str, form: str, folder: Path, given: argparse.Namespace) -> Iterator[Cell]:
    ours_file, their_file = files_of(model, form, folder)
    with Worker("ours", ours_file) as ours, Worker("predict", their_file) as theirs:
        for size in given.sizes:
            for batch in given.batches:
                task = Task(size, batch, given.seconds)
                rounds = [(ours.measure(task), theirs.measure(task)) for _ in range(given.rounds + 1)][1:]
                yield _cell((model, form, size, batch), rounds)


def _cell(names: tuple[str, str, str, int], rounds: Sequence[tuple[Cost, Cost]]) -> Cell:
    ours, theirs = zip(*rounds, strict=True)
    mine, other = (statistics.median(cost.wall for cost in side) for side in (ours, theirs))
    own_cpu, other_cpu = (statistics.median(cost.cpu for cost in side) for side in (ours, theirs))
    ratios = [second.wall / first.wall for first, second in rounds]
    return Cell(*names, mine, other, other / mine, (min(ratios), max(ratios)), other_cpu / own_cpu)


def files_of(model: str, form: str, folder: Path) -> tuple[Path, Path]:
    """Make, once, the files that the two sides are given."""
    from app.detection.models.exporter import export

    alone, together = folder / "alone" / f"{model}.pt", folder / "together" / f"{model}.pt"
    for file in (alone, together):
        if not file.exists():
            file.parent.mkdir(exist_ok=True)
            write_model(model, file)
    if form == "pt":
        return alone, alone
    kinds = ("openvino", "onnx") if form == "shipped" else (form,)
    made = [export(str(together), kind) for kind in kinds]
    return (together, alone) if form == "shipped" else (made[0], made[0])


def write_model(model: str, file: Path) -> None:
    """Write the demo model, or a YOLO26n from its description with weights of a fixed seed."""
    if model == "street":
        file.write_bytes((ROOT / "configs" / "models" / "street.pt").read_bytes())
        return
    from app.detection.ultralytics_guard import import_ultralytics

    import_ultralytics()
    import torch
    from ultralytics import YOLO

    torch.manual_seed(0)
    network = YOLO("yolo26n.yaml")
    network.ckpt = {"train_args": {"imgsz": 640, "task": "detect"}}
    network.save(str(file))


class Worker:
    """A process that holds one side's model and measures when reported to."""

    def __init__(self, side: str, file: Path) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.model_path", "--worker", side, str(file)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def measure(self, task: Task) -> Cost:
        """Let the side do the task once."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(asdict(task)), file=self._process.stdin, flush=True)
        return Cost(**json.loads(self._process.stdout.readline()))


def _work(side: str, file: str) -> int:
    answers, sys.stdout = sys.stdout, sys.stderr  # a library that prints must not answer for us
    run = (_ours if side == "ours" else _predict)(file)
    drawn: dict[str, list[bytes]] = {}
    for line in sys.stdin:
        task = Task(**json.loads(line))
        images = drawn.setdefault(task.size, jpegs(*SIZES[task.size]) if task.size not in drawn else [])
        print(json.dumps(asdict(_time(run, images, task))), file=answers, flush=True)
    return 0


def _time(run: Callable[[list[bytes]], object], images: list[bytes], task: Task) -> Cost:
    run(images[: task.batch])
    began, cpu_began, count = time.perf_counter(), time.process_time(), 0
    while count < 2 or time.perf_counter() - began < task.seconds:
        first = count * task.batch % PICTURES
        run((images * 2)[first : first + task.batch])
        count += 1
    scale = 1000 / (count * task.batch)
    return Cost((time.perf_counter() - began) * scale, (time.process_time() - cpu_began) * scale)


def _ours(file: str) -> Callable[[list[bytes]], object]:
    from app.detection import Detector, DetectorOptions

    size = None if file.endswith(".pt") else _image_size(file)
    detector = Detector(DetectorOptions(file, device="cpu", image_size=size))
    detector.warm_up()
    return detector.run


def _predict(file: str) -> Callable[[list[bytes]], object]:
    from app.detection.ultralytics_guard import import_ultralytics

    import_ultralytics()
    import cv2
    import numpy as np
    from ultralytics import YOLO

    model = YOLO(file, task="detect")
    size = _image_size(file)

    def run(images: list[bytes]) -> list[object]:
        decoded = [cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR) for image in images]
        found = model.predict(decoded, batch=len(decoded), imgsz=size, device="cpu", verbose=False)
        return [(one.boxes.xyxy.numpy(), one.boxes.conf.numpy(), one.boxes.cls.numpy()) for one in found]

    return run


def _image_size(file: str) -> int:
    """Return what the weights were trained at, which both sides must be reported of an export: they would take 640."""
    return 320 if Path(file).stem.startswith("street") else 640


def jpegs(width: int, height: int) -> list[bytes]:
    """Draw frames of the simulated street."""
    import cv2

    from app.simulation.spec import StreetSpec
    from app.simulation.street import Street

    street = Street(StreetSpec(seed=7, width=width, height=height))
    frames = [street.frame(index * 40).image for index in range(PICTURES)]
    return [cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes() for frame in frames]


if __name__ == "__main__":
    raise SystemExit(main())
