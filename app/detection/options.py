"""DetectorOptions: which model is run, where, and which detections are kept."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from app.errors import SettingsError
from app.settings.live import LiveDetector
from app.settings.settings import DetectorSettings
from app.settings.tracking import TrackingSettings


@dataclass(frozen=True)
class DetectorOptions:
    """How a detector is made; everything has the default of Ultralytics' ``predict``."""

    model: str
    """A file or exported folder that Ultralytics loads, or a hub name such as ``yolo26n.pt``."""
    model_sha256: str | None = None
    """The SHA-256 that the model's file must have, in hexadecimal; ``None``: any file is taken."""
    device: str = "auto"
    """``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``cuda:N``."""
    confidence: float = 0.25
    """Detections with a lower score are left out; from 0 to 1."""
    iou: float = 0.7
    """Of two boxes of one class that overlap more, the better stays; from 0 to 1."""
    classes: tuple[str, ...] = ()
    """Labels to keep; empty: all."""
    image_size: int | None = None
    """Longest side of the model's input in pixels; ``None``: the size that a ``.pt`` was trained for and an export was
    made for, else 640."""
    half: bool | None = None
    """Whether to compute in less than FP32; ``None``: where the device is fastest that way, so in FP16 on a GPU, and an
    OpenVINO export in BF16 on a CPU that has it, as under ``predict``: some 1.7 times as fast, and the demo model
    found one object more than 569, no score off by more than 0.03. ``.pt`` and ONNX stay in FP32 on the CPU."""
    max_detections: int = 300
    """Detections an image at most, best first."""
    weak_confidence: float | None = None
    """Boxes with a score of more than this, and too little to be detections, are reported as weak ones; ``None``: none
    are."""
    threads: int | None = None
    """CPU cores of the model, for this process, whatever runs it; ``None``: for ``.pt`` torch's own choice
    (``OMP_NUM_THREADS`` sets it), for an export all there are."""
    nms_free: bool = False
    """Whether a ``.pt`` is run by its NMS-free head where it has one (YOLO26, YOLOv10), like
    ``predict(nms=False)``; an export is run by the head that it was exported with."""
    use_export: bool = True
    """Whether a ``.pt`` is run as the export of it that lies beside it: on the CPU what ``sightline export`` made, on a
    GPU a TensorRT engine."""
    gpu_decode: bool = True
    """Whether a GPU that runs the model decodes the JPEGs too, by nvJPEG; else, and what it cannot, the CPU does."""

    @classmethod
    def of(
        cls,
        settings: DetectorSettings,
        tracking: TrackingSettings | None = None,
        *,
        device: str | None = None,
        threads: int | None = None,
    ) -> DetectorOptions:
        """Return the options that the settings ask for.

        Args:
            settings: of the detector.
            tracking: what is done with the boxes; ``None``: objects are not tracked.
            device: what stands in for the settings' own; ``None``: that.
            threads: CPU cores of the model; ``None``: see the field.
        """
        return cls(
            model=settings.model,
            model_sha256=settings.model_sha256,
            device=device or settings.device,
            confidence=settings.confidence,
            iou=settings.iou,
            classes=settings.classes,
            image_size=settings.image_size,
            max_detections=settings.max_detections,
            half=settings.half,
            weak_confidence=tracking.low if tracking is not None and tracking.enabled else None,
            threads=threads,
            use_export=settings.use_export,
            gpu_decode=settings.gpu_decode,
        )

    def changed_by(self, live: LiveDetector, fixed: Collection[str] = ()) -> DetectorOptions:
        """Return these options with what a ``user_config`` changes.

        Args:
            live: the ``user_config``; a field left out changes nothing.
            fixed: fields that the environment has set, which win.

        Raises:
            SettingsError: the settings pin their model, and another one is named without a pin.
        """
        given = {name: value for name in type(live).model_fields if (value := getattr(live, name)) is not None}
        chosen = {name: value for name, value in given.items() if name not in fixed}
        if "model" not in chosen:
            chosen.pop("model_sha256", None)
        elif self.model_sha256 is not None and live.model_sha256 is None:
            raise SettingsError("user_config.model: the settings pin their model; allowed is one with model_sha256")
        return replace(self, **chosen)


@dataclass(frozen=True)
class Thresholds:
    """What may be changed of a detector that is running."""

    confidence: float
    """Detections with a lower score are left out; from 0 to 1."""
    iou: float
    """Of two boxes of one class that overlap more, the better stays; from 0 to 1."""
    classes: tuple[str, ...]
    """Labels to keep; empty: all."""
