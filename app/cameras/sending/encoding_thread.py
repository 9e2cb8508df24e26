"""EncodingThread: runs one camera's encoder beside the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from app.cameras.frame import EncodedFrame, SampledFrame
from app.cameras.sending.encoder import Encoder


class EncodingThread:
    """Encodes frames one after the other, so that they stay in their order; used on one event loop."""

    def __init__(self, camera_id: str, encoder: Encoder) -> None:
        """Prepare; the thread starts with the first frame. ``camera_id`` is for the thread's name."""
        self._encoder = encoder
        self._executor = ThreadPoolExecutor(1, f"encode-{camera_id}")
        self.source_size: tuple[int, int] | None = None
        """Width and height in pixels of the newest frame that was encoded, before it was shrunk."""

    async def encode(self, sampled: SampledFrame) -> EncodedFrame:
        """Encode a frame.

        Raises:
            ImageError: it has no JPEG form, or one that is over the service's limits.
            SourceUnavailable: its pixels cannot be decoded.
        """
        encoded = await asyncio.get_running_loop().run_in_executor(self._executor, self._encoder.encode, sampled)
        self.source_size = (encoded.source_width, encoded.source_height)
        return encoded

    def close(self) -> None:
        """End the thread once its frame is encoded; do not wait for it."""
        self._executor.shutdown(wait=False)
