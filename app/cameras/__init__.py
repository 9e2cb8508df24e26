"""Cameras: sources, even sampling, encoding, and the loop that sends the newest frame."""

from app.cameras.accounts import CameraObserver, NullObserver
from app.cameras.camera import Camera, CameraTiming
from app.cameras.frame import EncodedFrame, SampledFrame
from app.cameras.history import AnsweredFrame, FrameHistory, FrameLatency, Picture
from app.cameras.outcome import Fate, Outcome
from app.cameras.recent_drops import DroppedLately
from app.cameras.sampling import EvenGrid
from app.cameras.sending.client import DetectClient
from app.cameras.sending.encoder import Encoder
from app.cameras.sending.sender import FrameSender
from app.cameras.sources import Capture, FrameTime, RawFrame, Source, open_source
from app.cameras.status import Blocked, CameraState, CameraStatus, ServiceTrouble
from app.core.backoff import Backoff
from app.core.clock import Clock

__all__ = [
    "AnsweredFrame",
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
    "FrameHistory",
    "FrameLatency",
    "FrameSender",
    "FrameTime",
    "NullObserver",
    "Outcome",
    "Picture",
    "RawFrame",
    "SampledFrame",
    "ServiceTrouble",
    "Source",
    "open_source",
]
