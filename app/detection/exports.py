"""Exports: which files made from a ``.pt`` lie beside it, and whether one of them may stand in for it on the CPU.

An export stands in only where its results equal the weights' own: made from these very weights, of any image size
and batch, not quantized, with the same head. ``sightline export`` writes the digest of the weights into the
export, because a file's age means nothing after ``git clone``; where another tool made the export, it must be
newer than the weights.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = ("openvino", "onnx")
"""What a ``.pt`` can be exported to, the faster first."""
DIGEST = "sightline_weights"
"""Key, in an export's metadata, of the SHA-256 of the weights that it was made from."""
_RUNTIMES = {"openvino": "openvino", "onnx": "onnxruntime"}


@dataclass(frozen=True)
class Export:
    """An export that may stand in for the weights it lies beside."""

    path: Path
    kind: str
    """``openvino`` or ``onnx``."""
    image_size: int
    """What ``predict`` takes for the weights themselves, in pixels."""


def export_path(weights: Path, kind: str) -> Path:
    """Say where the export of ``weights`` is, as Ultralytics names it."""
    return weights.with_suffix(".onnx") if kind == "onnx" else weights.with_name(f"{weights.stem}_openvino_model")


def installed(kind: str) -> bool:
    """Tell whether what runs exports of this kind is installed."""
    return importlib.util.find_spec(_RUNTIMES[kind]) is not None


def stand_in(weights: Path, nms_free: bool, has_runtime: Callable[[str], bool] = installed) -> Export | None:
    """Choose the export that is run in place of a ``.pt`` on the CPU; none: the ``.pt`` itself is run.

    Args:
        weights: the ``.pt``.
        nms_free: whether the NMS-free head is asked for.
        has_runtime: tells of ``openvino`` and ``onnx`` whether it can be run here.
    """
    if weights.suffix.lower() != ".pt" or not weights.is_file():
        return None
    for kind in KINDS:
        path = export_path(weights, kind)
        if path.exists() and has_runtime(kind):
            metadata = read_metadata(path)
            size = metadata.get("imgsz")
            if isinstance(size, (list, tuple)) and _equals(metadata, nms_free) and _made_from(weights, path, metadata):
                return Export(path, kind, max(int(side) for side in size))
    return None


def read_metadata(path: Path) -> Mapping[str, Any]:
    """Read what Ultralytics' exporter noted in an export; empty where it cannot be read."""
    from ultralytics.nn.backends.base import BaseBackend

    found: dict[str, Any] = dict(BaseBackend.read_metadata(path) or {})
    for key in ("imgsz", "args", "names"):
        if isinstance(found.get(key), str):  # in an ONNX file every value is text
            found[key] = _literal(found[key])
    return found


def digest(weights: Path) -> str:
    """Give the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(weights.read_bytes()).hexdigest()


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None


def _equals(metadata: Mapping[str, Any], nms_free: bool) -> bool:
    given = metadata.get("args")
    arguments = given if isinstance(given, dict) else {}
    exact = arguments.get("dynamic") and not arguments.get("quantize") and not arguments.get("nms")
    return bool(exact) and (str(metadata.get("end2end")) == "True") == nms_free


def _made_from(weights: Path, path: Path, metadata: Mapping[str, Any]) -> bool:
    if metadata.get(DIGEST):
        return bool(metadata[DIGEST] == digest(weights))
    file = next(path.glob("*.xml"), path) if path.is_dir() else path
    return file.stat().st_mtime > weights.stat().st_mtime
