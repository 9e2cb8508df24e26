"""Timeouts: the time-outs of a source that comes over the network, from its camera's ``stall_s``."""

from __future__ import annotations

from dataclasses import dataclass

from app.settings.cameras import DEFAULT_STALL_S

_OPEN_S = 4.0
_READ_MARGIN_S = 1.0
_KEYFRAME_S = 65.0


@dataclass(frozen=True)
class Timeouts:
    """How long a source waits; all in seconds."""

    open_s: float
    """For the handshake, and once more for the first packet."""
    read_s: float
    """Between two packets, and between two frames: a little more than ``stall_s``, so that the camera's own check
    reports the stall, and this time-out then ends the read that hangs."""
    keyframe_s: float
    """For the first frame while packets come: cameras that save bits send a key frame once a minute."""

    @classmethod
    def of(cls, stall_s: float = DEFAULT_STALL_S) -> Timeouts:
        """Return the time-outs for a camera; one that may be silent for longer may be so before its first frame too."""
        slow = stall_s > DEFAULT_STALL_S
        return cls(
            open_s=stall_s if slow else _OPEN_S,
            read_s=stall_s + _READ_MARGIN_S,
            keyframe_s=max(_KEYFRAME_S, 2 * stall_s),
        )
