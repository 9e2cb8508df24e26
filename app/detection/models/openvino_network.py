"""OpenVinoNetwork: an OpenVINO export of a detection model on the CPU, in a process without torch and Ultralytics.

They are hundreds of megabytes that a replica would hold beside the few that OpenVINO computes with. What an export must
be for that is in :func:`runs_alone`; every other one is run by ``app.detection.models.network``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from app.core.one_line import one_line
from app.detection.cpu_session import CpuSession, ObjectnessSession, OpenVinoSession
from app.detection.models.input_size import input_size
from app.detection.models.output import OutputKind, OutputLayout, recognise_output
from app.detection.options import DetectorOptions
from app.errors import ModelUnavailable

_FOLDER = "_openvino_model"
"""The end of the name of every OpenVINO export of Ultralytics."""


def runs_alone(folder: Path, metadata: Mapping[str, Any]) -> bool:
    """Return whether an OpenVINO export needs nothing of Ultralytics.

    Args:
        folder: of the export.
        metadata: what the exporter wrote into it.

    Returns:
        Whether it is a detection model of three channels, of one image a batch or of any, and not quantized.
    """
    arguments, sizes = metadata.get("args"), metadata.get("imgsz")
    if not folder.is_dir() or not folder.name.endswith(_FOLDER) or len(graphs := list(folder.glob("*.xml"))) != 1:
        return False
    return (
        isinstance(arguments, dict)
        and isinstance(metadata.get("names"), dict)
        and isinstance(sizes, list)
        and len(sizes) == 2
        and metadata.get("task") == "detect"
        and metadata.get("channels", 3) == 3
        and (bool(arguments.get("dynamic")) or metadata.get("batch") == 1)
        and not arguments.get("quantize")
        and not arguments.get("int8")
        and not any(name in str(metadata.get("description")).lower() for name in ("rtdetr", "rt-detr"))
        and "FakeQuantize" not in graphs[0].read_text(errors="replace")
    )


class OpenVinoNetwork:
    """An OpenVINO export that :func:`runs_alone`; its attributes are those of ``app.detection.models.network.Network``.

    Args:
        name: the base name of the configured model.
        folder: of the export.
        metadata: what the exporter wrote into it.
        options: image size, threads and precision are taken from them.
        image_size: longest side of the input where the options name none, in pixels; ``None``: the export's own.

    Raises:
        SettingsError: the image size is not the one that a static export has.
        ModelUnavailable: it cannot be loaded, does not run, or has other classes than names.
    """

    device = "cpu"

    def __init__(
        self,
        name: str,
        folder: Path,
        metadata: Mapping[str, Any],
        options: DetectorOptions,
        image_size: int | None = None,
    ) -> None:
        arguments, own = metadata["args"], metadata["imgsz"]
        self.name, self.form = name, folder.name
        self.labels: Mapping[int, str] = {int(key): str(label) for key, label in metadata["names"].items()}
        self.stride = int(metadata.get("stride", 32))
        self.rectangular = bool(arguments.get("dynamic"))
        fixed = None if self.rectangular else own
        self.size = input_size(fixed, options.image_size or image_size, own, self.stride, name)
        threads = options.threads or len(os.sched_getaffinity(0))
        try:
            session = OpenVinoSession(folder, threads, exact=options.half is False)
        except Exception as error:  # noqa: BLE001  # the seam: whatever OpenVINO raises, the model is not there
            raise ModelUnavailable(
                f"the model {name!r} cannot be loaded: {one_line(error, 200)}; give another in DETECTOR_MODEL"
            ) from None
        self.layout = self._recognise(session, bool(metadata.get("end2end") or arguments.get("nms")))
        is_old = self.layout.kind is OutputKind.OBJECTNESS
        self.session: CpuSession = ObjectnessSession(session) if is_old else session

    @property
    def end_to_end(self) -> bool:
        """Whether the output is final, so that no NMS is needed."""
        return self.layout.kind is OutputKind.FINAL

    def _recognise(self, session: OpenVinoSession, says_final: bool) -> OutputLayout:
        noise = np.random.default_rng(0).integers(0, 256, (*self.size, 3), np.uint8)
        try:
            session.prepare(self.size)  # the warm-up needs this shape too
            outputs = session.all_outputs(noise)
        except Exception as error:  # noqa: BLE001  # the seam: any failure of a foreign model
            raise ModelUnavailable(f"the model {self.name!r} does not run: {one_line(error)}") from None
        try:
            return recognise_output(outputs, self.size, len(self.labels), says_final)
        except ValueError as error:
            raise ModelUnavailable(f"the model {self.name!r} {error}") from None
