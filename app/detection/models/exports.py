"""Exports: which files made from a ``.pt`` lie beside it, and whether one of them may be run in its place.

An export is run only where its results equal the weights' own: made from these very weights, of any image size
and batch, not quantized, with the same head; on a GPU that is a TensorRT engine, in FP16 unless that is forbidden,
and of many images a call, as the weights themselves would be run. ``sightline export`` writes the digest of the
weights into the export, because a file's time means nothing after ``git clone``; where another tool made the export,
it must be newer than the weights.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

KINDS = ("openvino", "onnx")
"""What a ``.pt`` can be exported to for the CPU, the faster first."""
ENGINE = "engine"
"""What is run on a GPU: a TensorRT engine, which ``yolo export`` builds on the very kind of card."""
DIGEST = "sightline_weights"
"""Key, in an export's metadata, of the SHA-256 of the weights that it was made from."""
_RUNTIMES = {"openvino": "openvino", "onnx": "onnxruntime", ENGINE: "tensorrt"}
_FP16 = 16  # of ``quantize``, as Ultralytics writes it


@dataclass(frozen=True)
class Export:
    """An export that may be run in place of the weights it lies beside."""

    path: Path
    kind: str
    """``openvino``, ``onnx`` or ``engine``."""
    image_size: int
    """Longest side of the input that ``predict`` takes for the weights themselves, in pixels."""


@dataclass(frozen=True)
class Requirements:
    """How the weights would be run, which an export must equal."""

    on_gpu: bool = False
    nms_free: bool = False
    """Whether the NMS-free head is asked for."""
    half: bool = True
    """Whether FP16 is allowed on a GPU."""
    image_size: int | None = None
    """Longest side of the model's input, in pixels; ``None``: the model's own."""


def export_path(weights: Path, kind: str) -> Path:
    """Return the path of the export of ``weights``, as Ultralytics names it."""
    if kind == "openvino":
        return weights.with_name(f"{weights.stem}_openvino_model")
    return weights.with_suffix(f".{kind}")


def installed(kind: str) -> bool:
    """Return whether the runtime of exports of this kind is installed."""
    return importlib.util.find_spec(_RUNTIMES[kind]) is not None


def find_export(weights: Path, required: Requirements, has_runtime: Callable[[str], bool] = installed) -> Export | None:
    """Return the export that is run in place of a ``.pt``; ``None``: the ``.pt`` itself is run.

    Args:
        weights: the ``.pt``.
        required: how it would be run.
        has_runtime: returns whether an ``openvino``, ``onnx`` or ``engine`` export can be run here.
    """
    if weights.suffix.lower() != ".pt" or not weights.is_file():
        return None
    for kind in (ENGINE,) if required.on_gpu else KINDS:
        path = export_path(weights, kind)
        if path.exists() and has_runtime(kind):
            metadata = read_metadata(path)
            sides = metadata.get("imgsz")
            size = max(map(int, sides)) if isinstance(sides, (list, tuple)) and sides else 0
            if size and _equals(metadata, required, size) and _made_from(weights, path, metadata):
                return Export(path, kind, size)
    return None


def read_metadata(path: Path) -> Mapping[str, Any]:
    """Return the metadata that Ultralytics' exporter wrote into an export; empty where it cannot be read."""
    found = _read_sidecar(path) if path.is_dir() else _read_embedded(path)
    for key in ("imgsz", "args", "names"):
        if isinstance(found.get(key), str):  # in an ONNX file every value is text
            found[key] = _literal(found[key])
    return found


def _read_sidecar(folder: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load((folder / "metadata.yaml").read_text(errors="replace"))
    except (OSError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _read_embedded(path: Path) -> dict[str, Any]:
    from ultralytics.nn.backends.base import BaseBackend  # it loads torch

    return dict(BaseBackend.read_metadata(path) or {})


def digest(weights: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(weights.read_bytes()).hexdigest()


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None


def _equals(metadata: Mapping[str, Any], required: Requirements, size: int) -> bool:
    given = metadata.get("args")
    arguments = given if isinstance(given, dict) else {}
    quantized = arguments.get("quantize")
    if required.on_gpu:
        # Its largest input is bound when it is built; and run image by image it would be no faster than the weights.
        fits = (required.image_size or size) <= size and int(metadata.get("batch") or 1) > 1
        exact = fits and (not quantized or (quantized == _FP16 and required.half))
    else:
        exact = not quantized
    same_head = (str(metadata.get("end2end")) == "True") == required.nms_free
    return bool(exact and arguments.get("dynamic") and not arguments.get("nms") and same_head)


def _made_from(weights: Path, path: Path, metadata: Mapping[str, Any]) -> bool:
    if metadata.get(DIGEST):
        return bool(metadata[DIGEST] == digest(weights))
    file = next(path.glob("*.xml"), path) if path.is_dir() else path
    return file.stat().st_mtime > weights.stat().st_mtime
