"""Backend: a model's file or folder as Ultralytics opens it; which file is run, and on which device."""

from __future__ import annotations

import logging
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from app.core.one_line import one_line
from app.detection.models.exports import ENGINE, Export, Requirements, find_export
from app.detection.options import DetectorOptions
from app.detection.ultralytics_guard import loads_safely
from app.errors import ModelUnavailable

_NOISE = re.compile(r"\x1b\[[0-9;]*m|ERROR|❌|\ufe0f")

_logger = logging.getLogger(__name__)


def export_to_run(weights: Path, device: torch.device, options: DetectorOptions) -> Export | None:
    """Return the export that is run on a device in the place of the weights; ``None``: the weights themselves are."""
    # The pin is that of the weights alone: a file beside them is not taken in their place.
    if not options.use_export or options.model_sha256 is not None:
        return None
    on_gpu = device.type == "cuda"
    return find_export(weights, Requirements(on_gpu, options.nms_free, options.half is not False, options.image_size))


def load_or_fall_back(weights: Path, export: Export | None, load: Callable[[Path], Any]) -> tuple[Any, Export | None]:
    """Load the export of the weights, or the weights where that is a TensorRT engine which does not load here.

    An engine runs only with the kind of card and the TensorRT that it was built with, which its file does not name.

    Args:
        weights: the ``.pt``.
        export: what is run in its place; ``None``: nothing is.
        load: loads a file or folder.

    Returns:
        What was loaded, and the export where that was it.

    Raises:
        ModelUnavailable: as ``load`` raises it.
    """
    if export is None or export.kind != ENGINE:
        return load(export.path if export else weights), export
    try:
        return load(export.path), export
    except ModelUnavailable as error:
        _logger.warning("%s itself is run, as its engine does not load: %s", weights.name, error)
        return load(weights), None


def device_of(requested: str) -> torch.device:
    """Return the device that ``DETECTOR_DEVICE`` names.

    Raises:
        ModelUnavailable: PyTorch sees no such GPU.
    """
    if requested == "cpu" or (requested == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    index = int(requested.partition(":")[2] or 0)
    present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= present:
        count = f"{present} GPU{'s' * (present != 1)}" if present else "no GPU"
        raise ModelUnavailable(f"DETECTOR_DEVICE={requested!r}: PyTorch sees {count} here; set it to auto or cpu")
    return torch.device("cuda", index)


def open_backend(path: Path, device: torch.device, options: DetectorOptions) -> Any:
    """Return Ultralytics' ``AutoBackend`` of a file or folder, on its device.

    Raises:
        ModelUnavailable: it cannot be loaded, or not without trust in what it holds.
    """
    from ultralytics.nn.autobackend import AutoBackend

    if path.suffix.lower() == ".pt":
        _check_checkpoint(path)
    half = device.type == "cuda" if options.half is None else options.half and not path.name.endswith("_openvino_model")
    try:
        backend = AutoBackend(str(path), device=device, fp16=half, fuse=True, verbose=False, end2end=options.nms_free)
    except ModuleNotFoundError as error:
        raise ModelUnavailable(
            f"the model {path.name!r} needs the Python package {error.name!r}, which is not there; install it"
        ) from None
    except Exception as error:  # noqa: BLE001  # the seam: whatever a loader raises, the model is not there
        raise ModelUnavailable(f"the model {path.name!r} cannot be loaded: {_explain(error, path)}") from None
    backend.eval()
    if backend.format == "pt" and device.type == "cuda":
        # Tensor cores take this order; in the other each convolution is converted to it and back.
        backend.model.to(memory_format=torch.channels_last)
    return backend


def _check_checkpoint(path: Path) -> None:
    if not path.is_file() or not zipfile.is_zipfile(path):
        raise ModelUnavailable(f"the model {path.name!r} is no PyTorch checkpoint; give one in DETECTOR_MODEL")
    if not loads_safely():
        raise ModelUnavailable(
            "a .pt cannot be loaded safely here; it needs torch 2.6 and Ultralytics 8.4.190 or newer"
        )


def _explain(error: Exception, path: Path) -> str:
    text = str(error)
    if "references types outside" in text:
        return "it holds objects other than an Ultralytics network, and such are not trusted"
    if "not a supported model format" in text:
        return "by its name it is none of .pt, .onnx, .engine and an exported folder such as x_openvino_model"
    text = text.replace(str(path), path.name)
    first = re.split(r"\n|\. | \(", text)[0]
    line = one_line(_NOISE.sub("", first).strip() or type(error).__name__, 200)
    return f"{line}; give another in DETECTOR_MODEL"
