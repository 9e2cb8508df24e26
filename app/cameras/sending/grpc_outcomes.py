"""From a failed gRPC call to the outcome of its frame (``proto/README.md``, "Status codes")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import grpc

from app.cameras.ledger import DropReason
from app.cameras.outcome import Outcome
from app.rpc.codes import LOST_ANSWERS

_EXPIRED = "Deadline Exceeded"
"""gRPC's own text where the client's deadline, not the server, ended a call."""
_NEVER_CONNECTED = (
    "failed to connect to all addresses",
    "errors resolving",
    "DNS resolution failed",
    "empty address list",
    "no children",
    "Received http2 header with status: 503",  # from a proxy without a server behind it
)
_BROKEN = (
    "Socket closed",
    "Cancelling all calls",  # from a Python server that was stopped
    "Connection reset",
    "Broken pipe",
    "GOAWAY",
    "RST_STREAM",
    "keepalive",
    "ping timeout",
    "Stream removed",
    "transport",
    "recvmsg",
    "Received http2 header with status",  # from a proxy that lost the server during the call
)


@dataclass(frozen=True)
class FailedCall:
    """A call that did not end with ``OK``, and what is known of its connection."""

    code: grpc.StatusCode
    details: str
    answered: bool
    """Whether trailing metadata was received: only a server sends it."""
    expired: bool
    """Whether the client's own deadline had passed."""
    was_ready: bool
    """Whether the channel was connected when the call was made."""
    is_ready: bool
    """Whether the channel is connected now that it ended."""
    committed_epoch: int | None = None
    """The epoch of the camera that the service has committed, where its answer names one."""
    max_fps: float | None = None
    """How often the service asks the camera to send at most, where its answer says so."""


_BY_CODE: Mapping[grpc.StatusCode, DropReason] = {
    grpc.StatusCode.RESOURCE_EXHAUSTED: DropReason.OVERLOADED,
    grpc.StatusCode.ABORTED: DropReason.OUT_OF_ORDER,
    grpc.StatusCode.FAILED_PRECONDITION: DropReason.OUT_OF_ORDER,
    # The address answers, but the application is not there (yet): so Serve and other proxies report it.
    grpc.StatusCode.NOT_FOUND: DropReason.UNAVAILABLE,
    grpc.StatusCode.UNIMPLEMENTED: DropReason.UNAVAILABLE,
}
"""Any other code is ``REJECTED``, except for those that ``outcome_of`` handles itself."""


def outcome_of(call: FailedCall) -> Outcome:
    """Return what became of the frame of a failed call; in doubt, it is unconfirmed."""
    if call.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return _of_deadline(call)
    if call.code is grpc.StatusCode.UNAVAILABLE:
        return _of_unavailable(call)
    if call.code is grpc.StatusCode.CANCELLED or (not call.answered and _is_broken(call.details)):
        return Outcome.unconfirmed(call.details)
    reason = _BY_CODE.get(call.code, DropReason.REJECTED)
    if "larger than max" in call.details:
        reason = DropReason.REJECTED  # gRPC's own size limit: this frame never fits, however idle the service
    return Outcome.dropped(reason, call.details, call.committed_epoch, call.max_fps)


def _of_deadline(call: FailedCall) -> Outcome:
    by_server = call.answered or not call.expired or call.details != _EXPIRED
    if by_server:
        return Outcome.dropped(DropReason.DEADLINE, call.details, max_fps=call.max_fps)
    # A call on a connection that breaks ends with UNAVAILABLE; so one that expired on a channel connected neither
    # before nor after waited for the connection all the time, and was never sent.
    if not call.was_ready and not call.is_ready:
        return Outcome.dropped(DropReason.UNAVAILABLE, "no connection within the frame's time")
    return Outcome.unconfirmed("no answer within the frame's time")


def _of_unavailable(call: FailedCall) -> Outcome:
    never_sent = any(text in call.details for text in _NEVER_CONNECTED)
    # A server that answers keeps its connection open; with one that dies it breaks.
    by_server = (call.answered or (call.is_ready and not _is_broken(call.details))) and call.details not in LOST_ANSWERS
    if never_sent or by_server:
        return Outcome.dropped(DropReason.UNAVAILABLE, call.details)
    return Outcome.unconfirmed(call.details)


def _is_broken(details: str) -> bool:
    return any(text in details for text in _BROKEN)
