"""Every setting of Sightline: one home, one default, one validator (``configs/README.md``, "Settings").

``load_settings`` resolves them once, where the application is built; everything else is given values.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, SerializeAsAny

from app.settings.cameras import CameraSettings
from app.settings.connections import Frozen, KafkaSettings, TlsSettings, commas
from app.settings.evidence import EvidenceSettings, PrivacySettings
from app.settings.homes import user_state
from app.settings.paths import DEMO_MODEL, Folder
from app.settings.rules import RuleFields
from app.settings.service_address import ServiceAddress
from app.settings.tracking import TrackingSettings

MAX_BUDGET_MS = 600_000
"""The longest latency budget; milliseconds."""


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise ValueError("allowed are auto, cpu, cuda and cuda:N")
    return value


def _gpus(value: object) -> object:
    if value == "auto" or (isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0):
        return value
    raise ValueError("allowed are auto and a number of GPUs from 0")


def _token(value: object) -> object:
    """Return a token without surrounding spaces, if a gRPC header can carry it; the error does not show it."""
    if not isinstance(value, str):
        return value
    if not re.fullmatch(r"[!-~]+", value.strip()):
        raise ValueError("allowed are printable ASCII characters without spaces, at least one")
    return value.strip()


def _address(value: object) -> object:
    return ServiceAddress.parse(value) if isinstance(value, str) else value


class DetectorSettings(Frozen):
    """The model and how it is run."""

    model: Annotated[str, Field(min_length=1)] = str(DEMO_MODEL)
    """A file, an exported folder, or a hub name that Ultralytics knows."""
    model_sha256: Annotated[str | None, Field(pattern=r"^[0-9A-Fa-f]{64}$")] = None
    """The SHA-256 that the model's file must have; ``None``: any file is accepted."""
    device: Annotated[str, AfterValidator(_device)] = "auto"
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.25
    iou: Annotated[float, Field(ge=0, le=1)] = 0.7
    classes: Annotated[tuple[str, ...], BeforeValidator(commas)] = ()
    """Labels to keep; empty: all."""
    image_size: Annotated[int | None, Field(ge=32, le=8192)] = None
    """Longest side of the model's input in pixels; ``None``: the model's or its export's own."""
    max_detections: Annotated[int, Field(ge=1, le=10_000)] = 300
    """Detections a frame at most, best first; a frame that reached it is marked and counted."""
    use_export: bool = True
    """Whether a ``.pt`` is run as the export beside it (see ``DetectorOptions``)."""
    gpu_decode: bool = True
    """Whether a GPU that runs the model decodes the JPEGs too (see ``DetectorOptions``)."""
    half: bool | None = None
    """Whether to compute in half precision; ``None``: where the device is made for it (see ``DetectorOptions``)."""
    gpus_per_replica: Annotated[float | Literal["auto"], BeforeValidator(_gpus)] = "auto"
    """``auto``: 1 where the cluster has a GPU and the device is not the CPU, else 0."""


class SpoolSettings(Frozen):
    """Where events are kept until Kafka acknowledges them."""

    dir: Folder = Field(default_factory=lambda: user_state() / "spool")
    """A folder of one system's publisher, on one node."""
    max_bytes: Annotated[int, Field(ge=1 << 20)] = 1 << 30
    """Of all shards together, in equal parts; beyond it, ``Detect`` answers ``UNAVAILABLE`` until Kafka has taken
    some."""
    synchronous: Literal["normal", "full"] = "normal"
    """``normal``: accepted events survive the death of any process; ``full``: also the loss of power."""
    pinned: bool = False
    """Whether the publisher waits for the node with the resource ``sightline_spool``: for a cluster whose nodes start
    one by one."""


class PublisherSettings(Frozen):
    """How events are committed and sent."""

    shards: Annotated[int, Field(strict=True, ge=1, le=16)] = 1
    """Publishers that share the cameras, each with a spool of its own; a restart changes it and loses no event."""


class Settings(Frozen):
    """All settings of one running system."""

    inference_service_url: Annotated[ServiceAddress, BeforeValidator(_address)] = ServiceAddress(
        host="127.0.0.1", port=9000
    )
    inference_fps: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 5.0
    """Frames sampled per second and camera, unless the camera has its own ``fps``."""
    latency_budget_ms: Annotated[int, Field(ge=1, le=MAX_BUDGET_MS)] = 200
    """From capture to Kafka's acknowledgement."""
    token: Annotated[SecretStr | None, BeforeValidator(_token)] = None
    """Bearer token for ``Detect`` and for the HTTP API."""
    cameras: tuple[CameraSettings, ...] = ()
    rules: tuple[SerializeAsAny[RuleFields], ...] = ()
    tls: TlsSettings = TlsSettings()
    kafka: KafkaSettings = KafkaSettings()
    detector: DetectorSettings = DetectorSettings()
    spool: SpoolSettings = Field(default_factory=SpoolSettings)
    publisher: PublisherSettings = PublisherSettings()
    tracking: TrackingSettings = TrackingSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    privacy: PrivacySettings = PrivacySettings()
    state_dir: Folder = Field(default_factory=user_state)
    """Folder of the changes of cameras and rules made at run time; one running system's own."""
