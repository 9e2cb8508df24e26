"""Exporter: writes an OpenVINO folder or an ONNX file beside a ``.pt``, for faster detection on the CPU."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import warnings
from pathlib import Path

from app.core.one_line import one_line
from app.detection.models.exports import DIGEST, KINDS, digest, export_path, installed
from app.detection.models.files import find_model
from app.detection.ultralytics_guard import import_ultralytics, loads_safely
from app.errors import ModelUnavailable, SettingsError


def export(model: str, kind: str) -> Path:
    """Write the export of ``model`` beside it, of any image size and batch, in FP32; return its path.

    It is made in a folder of its own and then renamed, so a detector never reads half of it.

    Args:
        model: a ``.pt``, or a hub name.
        kind: ``openvino`` or ``onnx``.

    Raises:
        SettingsError: the model or the kind cannot be exported.
        ModelUnavailable: the model cannot be loaded, what writes or runs the export is not installed, or it fails.
    """
    if kind not in KINDS:
        raise SettingsError(f"--format: {kind!r} is unknown; allowed are {' and '.join(KINDS)}")
    weights = find_model(model)
    if weights.suffix.lower() != ".pt":
        raise SettingsError(f"the model {weights.name!r} is an export already; give its .pt")
    _check_installed(kind)
    target = export_path(weights, kind)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=_writable(target.parent)) as folder:
        _replace(_write(weights, kind, Path(folder)), target, Path(folder))
    return target


def _check_installed(kind: str) -> None:
    # onnxslim would be imported by Ultralytics only to simplify, which ONNX Runtime does itself on loading.
    missing = [] if installed(kind) else [f"pip install 'sightline[{kind}]'"]
    if kind == "onnx":
        try:
            import onnx  # noqa: F401
        except ModuleNotFoundError:
            missing = ["pip install 'sightline[onnx]'"]
    if missing:
        raise ModelUnavailable(f"an export to {kind} needs packages that are not here: {missing[0]}")


def _writable(folder: Path) -> Path:
    if not os.access(folder, os.W_OK):
        raise ModelUnavailable(f"the folder {str(folder)!r} cannot be written to; copy the model to another")
    return folder


def _write(weights: Path, kind: str, folder: Path) -> Path:
    import_ultralytics()
    from ultralytics import YOLO

    if not loads_safely():
        raise ModelUnavailable("a .pt cannot be loaded safely here; it needs Ultralytics 8.4.190 or newer")
    copy = folder / weights.name
    shutil.copy(weights, copy)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(None):
            warnings.simplefilter("ignore")
            network = YOLO(str(copy))
            if network.task != "detect":
                raise ModelUnavailable(f"the model {weights.name!r} is for the task {network.task!r}")
            size = network.overrides.get("imgsz") or 640
            options = {"simplify": False} if kind == "onnx" else {}
            made = Path(network.export(format=kind, imgsz=size, dynamic=True, device="cpu", verbose=False, **options))
        _write_digest(made, kind, digest(weights))
    except ModelUnavailable:
        raise
    except Exception as error:  # noqa: BLE001  # the seam: whatever an exporter raises, there is no export
        reason = one_line(error, 200)
        raise ModelUnavailable(f"the model {weights.name!r} cannot be exported to {kind}: {reason}") from None
    return made


def _write_digest(made: Path, kind: str, value: str) -> None:
    """Write into the export which weights it was made from."""
    if kind == "openvino":
        with (made / "metadata.yaml").open("a") as metadata:
            metadata.write(f"{DIGEST}: {value}\n")
        return
    import onnx

    graph = onnx.load(str(made))
    graph.metadata_props.add(key=DIGEST, value=value)
    onnx.save(graph, str(made))


def _replace(made: Path, target: Path, folder: Path) -> None:
    old = folder / "old"
    if target.exists():
        target.rename(old)
    made.rename(target)
