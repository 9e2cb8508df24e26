"""The gRPC code of each error of ``app/errors.py``: the one table (``proto/README.md``, "Status codes")."""

from __future__ import annotations

from collections.abc import Iterable

import grpc

from app import errors
from app.core.one_line import one_line

UNKNOWN_FAULT = "the service failed on this request; its log says why"
"""Details of ``INTERNAL``: what a caller learns of a defect of the service, never a stack trace."""
LOST_ANSWER = "the service replica that had the frame is gone, and its answer with it"
"""Details of ``UNAVAILABLE`` where it is unknown whether the frame became an event: a replica died."""
LOST_COMMIT = "the publisher that had the event gave no answer; the event may have been committed"
"""Details of ``UNAVAILABLE`` where it is unknown whether the frame became an event: a publisher did not answer."""
LOST_ANSWERS = frozenset({LOST_ANSWER, LOST_COMMIT})
"""Details of ``UNAVAILABLE`` for which a camera counts its frame as unconfirmed."""

COMMITTED_EPOCH = "sightline-committed-epoch"
"""Trailing metadata of ``FAILED_PRECONDITION``: the epoch that is committed, in decimal digits."""

MAX_FPS = "sightline-max-fps"
"""Trailing metadata of ``DEADLINE_EXCEEDED`` and ``RESOURCE_EXHAUSTED``: how often to send at most, as the field
``max_fps`` of an answer, in decimal digits."""

_CODES: tuple[tuple[type[errors.SightlineError], grpc.StatusCode], ...] = (
    (errors.ImageError, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.RequestError, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.DeadlineExceeded, grpc.StatusCode.DEADLINE_EXCEEDED),
    (errors.Overloaded, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.FrameRepeated, grpc.StatusCode.ABORTED),
    (errors.EpochSuperseded, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (errors.ModelUnavailable, grpc.StatusCode.UNAVAILABLE),
    (errors.InferenceFailed, grpc.StatusCode.INTERNAL),
    (errors.DeliveryError, grpc.StatusCode.UNAVAILABLE),
)


def status_of(error: BaseException) -> tuple[grpc.StatusCode, str]:
    """Return the code of an error, and its details: one line."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code, one_line(error)
    return grpc.StatusCode.INTERNAL, UNKNOWN_FAULT


def metadata_of(error: BaseException, max_fps: float | None = None) -> list[tuple[str, str]]:
    """Return the trailing metadata of an error's answer.

    Args:
        error: what is answered.
        max_fps: how often the camera is asked to send at most, frames per second; ``None``: nothing is said of it.
    """
    if max_fps is not None and isinstance(error, errors.DeadlineExceeded | errors.Overloaded):
        return [(MAX_FPS, f"{max_fps:.3f}")]
    if isinstance(error, errors.EpochSuperseded) and error.committed:
        return [(COMMITTED_EPOCH, str(error.committed))]
    return []


def committed_epoch(metadata: Iterable[tuple[str, str | bytes]]) -> int | None:
    """Return the committed epoch that the trailing metadata of an answer names; ``None`` where it names none."""
    value = dict(metadata).get(COMMITTED_EPOCH)
    return int(value) if isinstance(value, str) and value.isdecimal() else None


def max_fps(metadata: Iterable[tuple[str, str | bytes]]) -> float | None:
    """Return how often to send at most, as the trailing metadata of an answer say; ``None`` where they do not."""
    value = dict(metadata).get(MAX_FPS)
    if not isinstance(value, str) or not value.replace(".", "", 1).isdecimal():
        return None
    return float(value) or None
