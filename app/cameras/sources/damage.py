"""LossTracker: which frames of a stream are damaged because packets were lost on their way."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import av.logging

Log = Sequence[tuple[int, str, str]]
"""FFmpeg's messages: level, context, text."""
_MISSED = "RTP: missed"
"""What FFmpeg writes of lost RTP packets (libavformat/rtpdec.c), which it reports in no other way."""
_OTHER_TRANSPORT = "Nonmatching transport"
"""What it writes where the answer to a SETUP names another transport (libavformat/rtsp.c)."""


def enable_log() -> None:
    """Let FFmpeg's warnings reach ``av.logging.Capture``, and nobody else: their text may hold addresses.

    A level that was set before stays.
    """
    if av.logging.get_level() is None:
        logger = logging.getLogger("libav")
        logger.propagate = False
        logger.addHandler(logging.NullHandler())
        av.logging.set_skip_repeated(False)
        av.logging.set_level(av.logging.WARNING)


def names_other_transport(log: Log) -> bool:
    """Return whether a server answered with a transport that was not asked for."""
    return any(_OTHER_TRANSPORT in text for _, _, text in log)


class LossTracker:
    """Marks frames from a loss on until the next key frame that came whole: those between refer to what was lost.

    A camera that refreshes its pictures bit by bit sends no key frames, but says when they are whole again.

    FFmpeg splits frames where the next one begins, so that a loss in a frame's first packets is reported while the
    frame before is read: a key frame is trusted when nothing was lost in either.
    """

    def __init__(self) -> None:
        self._is_damaged = False
        self._missed = self._missed_before = False
        self._is_lost = False
        self._recovers_in: int | None = None
        """Packets until the pictures are whole; ``None``: that was not said since the last loss."""

    @property
    def is_damaged(self) -> bool:
        """Whether a frame that is no key frame is damaged now."""
        return self._is_damaged

    @property
    def is_lost(self) -> bool:
        """Whether packets were lost since the last frame that was whole."""
        return self._is_lost

    def packet(self, log: Log) -> None:
        """Take what FFmpeg wrote while it read a packet."""
        self._missed_before, self._missed = self._missed, any(_MISSED in text for _, _, text in log)
        self._is_damaged |= self._missed
        if self._missed:
            self._is_lost, self._recovers_in = True, None
        elif self._recovers_in:
            self._recovers_in -= 1

    def recover_in(self, frames: int) -> None:
        """Take a recovery point: pictures are whole so many frames after that of the present packet."""
        if self._recovers_in is None and not (self._missed or self._missed_before):
            self._recovers_in = frames

    def frame(self, *, is_key: bool, is_corrupt: bool) -> bool:
        """Take a decoded frame; return whether it is damaged."""
        if is_corrupt:
            self._is_damaged, self._recovers_in = True, None
        elif self._recovers_in == 0 or (is_key and not (self._missed or self._missed_before)):
            self._is_damaged = self._is_lost = False
            self._recovers_in = None
        return self._is_damaged
