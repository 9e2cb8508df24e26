"""One camera: capture, even sampling, and the frames that it sends; here are the names that other rooms use."""

from app.cameras.camera import Camera
from app.cameras.history import AnsweredFrame, FrameHistory, FrameLatency, Picture
from app.cameras.recent_drops import DroppedLately
from app.cameras.sending.client import DetectClient
from app.cameras.sources import DecoderChoice, open_source
from app.cameras.status import CameraState, CameraStatus

__all__ = [
    "AnsweredFrame",
    "Camera",
    "CameraState",
    "CameraStatus",
    "DecoderChoice",
    "DetectClient",
    "DroppedLately",
    "FrameHistory",
    "FrameLatency",
    "Picture",
    "open_source",
]
