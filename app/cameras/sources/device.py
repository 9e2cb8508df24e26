"""DeviceSource: a USB camera, by OpenCV."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from app.cameras.sources.source import Capture, FrameTime, RawFrame
from app.core.clock import Clock
from app.errors import SourceUnavailable
from app.settings.source_url import SourceUrl


class DeviceSource:
    """``device://0``, ``/dev/video0``, ``/dev/v4l/by-id/…``: timed by arrival.

    OpenCV decodes a frame only where it is retrieved.
    """

    live = True

    def __init__(self, url: SourceUrl, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._device: cv2.VideoCapture | None = None
        self._interrupted = threading.Event()
        self._captured = Capture(0, 0.0)
        self._index = -1

    def open(self) -> None:
        """Open the device.

        Raises:
            SourceUnavailable: the device is away or in use.
        """
        device = self._url.device
        if isinstance(device, int):
            self._device = cv2.VideoCapture(device)
        else:
            # Resolved at each opening: what /dev/v4l/by-id/ names has another number after it was unplugged.
            node = Path(device).resolve()
            if not node.exists():
                raise SourceUnavailable(f"{self._url} cannot be opened: there is no {node}")
            self._device = cv2.VideoCapture(str(node), cv2.CAP_V4L2)
        if not self._device.isOpened():
            self.close()
            raise SourceUnavailable(f"{self._url} cannot be opened: no such camera, or it is in use")
        self._device.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def grab(self) -> FrameTime | None:
        """Wait for the next frame.

        Raises:
            SourceUnavailable: the device stopped giving frames.
        """
        assert self._device is not None, "open() comes first"
        if self._interrupted.is_set():
            return None
        if not self._device.grab():
            raise SourceUnavailable(f"{self._url} stopped giving frames")
        self._index += 1
        self._captured = Capture.now(self._clock)
        return FrameTime(self._index, self._captured.monotonic)

    def retrieve(self) -> RawFrame:
        """Decode the frame.

        Raises:
            SourceUnavailable: the device gave no picture.
        """
        assert self._device is not None, "open() comes first"
        found, image = self._device.retrieve()
        if not found or image.ndim != 3:
            raise SourceUnavailable(f"{self._url} gave a frame without a picture")
        return RawFrame.of(cast("NDArray[np.uint8]", image), self._captured)

    def interrupt(self) -> None:
        """End ``grab`` when the device gives its next frame, or OpenCV's own wait for it ends."""
        self._interrupted.set()

    def close(self) -> None:
        """Release the device."""
        device, self._device = self._device, None
        if device is not None:
            device.release()
