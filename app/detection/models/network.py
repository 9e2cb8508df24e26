"""Network: one loaded model behind one call, whatever its file format."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import torch

from app.core.one_line import one_line
from app.detection.cpu_session import CpuSession, ObjectnessSession, OnnxSession, OpenVinoSession, onnx_session
from app.detection.models.backend import device_of, export_to_run, load_or_fall_back, open_backend
from app.detection.models.exports import Export
from app.detection.models.files import check_pin, find_model
from app.detection.models.input_size import input_size
from app.detection.models.output import OutputKind, OutputLayout, recognise_output
from app.detection.options import DetectorOptions
from app.detection.ultralytics_guard import import_ultralytics
from app.errors import ModelUnavailable

_logger = logging.getLogger(__name__)


class Network:
    """A detection network on its device.

    Raises:
        SettingsError: there is no such model, it is not the pinned one, or the image size is not the one that a
            static export has.
        ModelUnavailable: it cannot be downloaded, is no detection model, has other classes than names, or cannot run
            on its device.
    """

    form: str
    """The base name of the file or folder that is run: the model's own, or its export's."""
    session: CpuSession | None
    """The network for one picture a call, where it is an export on the CPU; else ``None``."""
    layout: OutputLayout
    """How the output is read; that of ``__call__`` and of ``session`` is (4 + classes, anchors), or final."""
    labels: Mapping[int, str]
    """Class id to label."""
    size: tuple[int, int]
    """Height and width of the largest input, multiples of ``stride``."""
    stride: int
    rectangular: bool
    """Whether inputs smaller than ``size`` are taken."""

    def __init__(self, options: DetectorOptions) -> None:
        import_ultralytics()
        self.name = Path(options.model).name
        device = device_of(options.device)
        weights = find_model(options.model)
        check_pin(weights, options.model_sha256)
        self.name = weights.name
        chosen = export_to_run(weights, device, options)
        self._backend, export = load_or_fall_back(weights, chosen, lambda file: open_backend(file, device, options))
        path = export.path if export else weights
        self.form = path.name
        self._max_detections = options.max_detections
        if options.device.startswith("cuda") and self.device.type != "cuda":
            raise ModelUnavailable(f"the model {self.name!r} runs on the CPU only with what is installed; "
                                   "install onnxruntime-gpu, or set DETECTOR_DEVICE=cpu")  # fmt: skip
        self._check_kind()
        self._share_threads(options.threads)
        self._read_shape(options.image_size or (export.image_size if export else None))
        self.layout = self._recognise()
        self.session = self._open_session(path, options, export)
        if export:
            _logger.info("%s runs as its export %s; use_export: false runs the .pt itself", self.name, self.form)

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        device: torch.device = self._backend.device
        return device

    @property
    def half(self) -> bool:
        """Whether the network takes FP16."""
        return bool(self._backend.fp16)

    @property
    def end_to_end(self) -> bool:
        """Whether the output is final, so that no NMS is needed."""
        return self.layout.kind is OutputKind.FINAL

    @property
    def channels_last(self) -> bool:
        """Whether the input's memory should be in the order (N, H, W, C)."""
        return bool(self._backend.format == "pt")

    @property
    def capturable(self) -> bool:
        """Whether what a call launches on a GPU depends on the shape alone, so that a CUDA graph can hold it."""
        return bool(self._backend.format == "pt" and self.device.type == "cuda")

    def tensors(self) -> list[torch.Tensor]:
        """Return the tensors that layers keep beside their weights, such as a head's anchors for the last shape."""
        layers = self._backend.model.modules() if self._backend.format == "pt" else ()
        return [each for layer in layers for each in vars(layer).values() if isinstance(each, torch.Tensor)]

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        """Run the network.

        Args:
            batch: (N, 3, H, W) float on the network's device, RGB in [0, 1].

        Returns:
            (N, 4 + classes, anchors), or (N, detections, 6) where ``end_to_end``.
        """
        if self._backend.format == "pt" and self._backend.end2end:
            # As in predict: classes are filtered after the head's own truncation.
            self._backend.model.set_head_attr(max_det=max(self._max_detections, 300), agnostic_nms=False)
        parts = batch.split(self._largest_batch or len(batch))  # type: ignore[no-untyped-call]
        # A backend may return a buffer that its next call overwrites.
        outputs = [self._run(part).clone() if len(parts) > 1 else self._run(part) for part in parts]
        return torch.cat(outputs) if len(parts) > 1 else outputs[0]

    def _run(self, batch: torch.Tensor) -> torch.Tensor:
        output = self._outputs(batch)[0]
        return as_anchors(output) if self.layout.kind is OutputKind.OBJECTNESS else output

    def _outputs(self, batch: torch.Tensor) -> list[torch.Tensor]:
        output = self._backend(batch)
        if not isinstance(output, (list, tuple)):
            return [output]
        # What a .pt returns beside its output is for training.
        return list(output[:1] if self._backend.format == "pt" else output)

    def _recognise(self) -> OutputLayout:
        """Return the layout of the output, by running the network once; set the labels of a model without names.

        Raises:
            ModelUnavailable: it does not run, or is no detection model of so many names.
        """
        named = self._backend.format == "pt" or bool(self._backend.metadata.get("names"))
        kind = torch.float16 if self.half else torch.float32
        noise = torch.rand((1, 3, *self.size), generator=torch.Generator().manual_seed(0)).to(self.device, kind)
        try:
            with torch.inference_mode():
                outputs = [each.float().cpu().numpy() for each in self._outputs(noise)]
        except Exception as error:  # noqa: BLE001  # the seam: any failure of a foreign model
            raise ModelUnavailable(f"the model {self.name!r} does not run: {one_line(error)}") from None
        says_final = bool(self._backend.end2end or (self._backend.metadata.get("args") or {}).get("nms"))
        try:
            layout = recognise_output(outputs, self.size, len(self.labels) if named else None, says_final)
        except ValueError as error:
            raise ModelUnavailable(f"the model {self.name!r} {error}") from None
        if not named and layout.classes is not None:
            self.labels = {number: f"class{number}" for number in range(layout.classes)}
        return layout

    def _check_kind(self) -> None:
        backend = self._backend
        task = getattr(backend.model, "task", None) or backend.task or "detect"
        if task != "detect":
            raise ModelUnavailable(f"the model {self.name!r} is for the task {task!r}; give a detection model")
        kind = f"{type(backend.model).__name__} {backend.metadata.get('description', '')}".lower()
        if "rtdetr" in kind or "rt-detr" in kind:
            raise ModelUnavailable(f"the model {self.name!r} is an RT-DETR, which is not supported; give a YOLO model")
        if backend.channels != 3:
            raise ModelUnavailable(f"the model {self.name!r} takes {backend.channels} channels; give one that takes 3")
        self.labels = {int(key): str(label) for key, label in backend.names.items()}

    def _read_shape(self, requested: int | None) -> None:
        backend = self._backend
        dynamic = bool(backend.dynamic)
        self.stride = int(backend.stride)
        fixed = None if dynamic else getattr(backend, "imgsz", None)
        batch = backend.batch if backend.format == "engine" or not dynamic else None
        if backend.format == "onnx":
            batch, fixed = self._onnx_shape(fixed)
        if backend.format in ("pt", "torchscript"):
            batch = None
        own = backend.model.args.get("imgsz") if backend.format == "pt" else getattr(backend, "imgsz", None)
        self.size = input_size(fixed, requested, own, self.stride, self.name)
        self.rectangular = backend.format == "pt" or (dynamic and not fixed)
        self._largest_batch: int | None = batch
        if batch is not None:
            backend.backend.batch = batch  # what shorter batches are padded to

    def _onnx_shape(self, declared: object) -> tuple[int | None, object]:
        """Return the batch and the size that an ONNX graph is fixed to: foreign ones carry no metadata."""
        shape = self._backend.session.get_inputs()[0].shape
        if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
            raise ModelUnavailable(f"the model {self.name!r} does not take images: its input is {shape}")
        batch = shape[0] if isinstance(shape[0], int) else None
        fixed = all(isinstance(side, int) for side in shape[2:])
        return batch, (declared or shape[2:]) if fixed else None

    def _share_threads(self, threads: int | None) -> None:
        if self._backend.format == "pt" or self.device.type != "cpu":
            if threads is not None:
                torch.set_num_threads(threads)
            return
        # Another runtime computes, and torch only prepares and sorts: its threads spin after each piece of work, and
        # would take the cores from that runtime's.
        torch.set_num_threads(1)

    def _open_session(self, path: Path, options: DetectorOptions, export: Export | None) -> CpuSession | None:
        backend = self._backend
        if self.device.type != "cpu" or backend.format not in ("onnx", "openvino"):
            return None
        threads = options.threads or len(os.sched_getaffinity(0))
        single = self._largest_batch in (None, 1) and not backend.fp16
        if backend.format == "onnx":
            backend.backend.session = None if single else onnx_session(path, threads)
            return self._converted(OnnxSession(path, threads)) if single else None
        if single and backend.backend.read_model is None:  # it is set for INT8 on AMX, which Ultralytics handles itself
            backend.backend.ov_compiled_model = None
            return self._converted(OpenVinoSession(path, threads, exact=options.half is False))
        return None

    def _converted(self, session: CpuSession) -> CpuSession:
        return ObjectnessSession(session) if self.layout.kind is OutputKind.OBJECTNESS else session


def as_anchors(output: torch.Tensor) -> torch.Tensor:
    """Return the output of a YOLOv5 or YOLOv7 as that of a YOLOv8: a class's score is that of the object times its own.

    As YOLOv5's own ``non_max_suppression`` has it (https://github.com/ultralytics/yolov5, ``utils/general.py``).

    Args:
        output: (N, anchors, 5 + classes).

    Returns:
        (N, 4 + classes, anchors).
    """
    return torch.cat([output[..., :4], output[..., 5:] * output[..., 4:5]], -1).transpose(1, 2)
