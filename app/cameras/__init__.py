"""Cameras: sources, even sampling, encoding, and the loop that sends the newest frame."""

from app.cameras.accounts import CameraObserver, SilentObserver
from app.cameras.backoff import Backoff
from app.cameras.camera import Camera, CameraTiming, FrameSender
from app.cameras.client import DetectClient
from app.cameras.clock import Clock
from app.cameras.encoder import EncodedFrame, Encoder, SampledFrame
from app.cameras.outcomes import Fate, Outcome
from app.cameras.recent import FrameLatency, Picture, Recent, SeenFrame
from app.cameras.recent_drops import DroppedLately
from app.cameras.sampler import EvenGrid
from app.cameras.sources import Capture, FrameTime, RawFrame, Source, open_source
from app.cameras.status import Blocked, CameraState, CameraStatus, ServiceTrouble

__all__ = [
    "Backoff",
    "Blocked",
    "Camera",
    "CameraObserver",
    "CameraState",
    "CameraStatus",
    "CameraTiming",
    "Capture",
    "Clock",
    "DetectClient",
    "DroppedLately",
    "EncodedFrame",
    "Encoder",
    "EvenGrid",
    "Fate",
    "FrameLatency",
    "FrameSender",
    "FrameTime",
    "Outcome",
    "Picture",
    "RawFrame",
    "Recent",
    "SampledFrame",
    "SeenFrame",
    "ServiceTrouble",
    "SilentObserver",
    "Source",
    "open_source",
]
