"""One camera: capture, even sampling, and the frames that it sends; here are the names that other rooms use.

Importing this package loads neither OpenCV nor gRPC: most processes know of cameras only what these report. What opens
sources and sends frames is imported by the name of its module.
"""

from app.cameras.history import AnsweredFrame, Cursor, FrameHistory, FrameLatency, NewFrames, Picture
from app.cameras.recent_drops import DroppedLately
from app.cameras.status import CameraState, CameraStatus

__all__ = [
    "AnsweredFrame",
    "CameraState",
    "CameraStatus",
    "Cursor",
    "DroppedLately",
    "FrameHistory",
    "FrameLatency",
    "NewFrames",
    "Picture",
]
