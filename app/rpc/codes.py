"""Which gRPC code each of our errors becomes: the one table (contract, section 3)."""

from __future__ import annotations

import grpc

from app import errors
from app.core.one_line import one_line

UNKNOWN_FAULT = "the service failed on this request; its log says why"
"""What a caller is told of a fault that is ours: never a stack trace."""
LOST_ANSWER = "the service replica that had the frame is gone, and its answer with it"
"""What a caller is told who gets ``UNAVAILABLE`` and cannot know whether its frame became an event."""
LOST_COMMIT = "the publisher that had the event gave no answer; the event may have been committed"
LOST_ANSWERS = frozenset({LOST_ANSWER, LOST_COMMIT})
"""Details of ``UNAVAILABLE`` that leave open what became of the frame: a camera counts it unconfirmed."""

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
    """Give the code and the one line that the caller gets for an error."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code, one_line(error)
    return grpc.StatusCode.INTERNAL, UNKNOWN_FAULT
