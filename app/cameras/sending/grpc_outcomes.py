"""Outcome: what became of one sent frame, and how gRPC's answers tell it (contract, sections 3 and 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import grpc

from app.cameras.ledger import DropReason
from app.cameras.outcome import Outcome
from app.rpc.codes import LOST_ANSWERS

_EXPIRED = "Deadline Exceeded"
"""gRPC's own words where the client's deadline, not the server, ended a call."""
_NEVER_CONNECTED = (
    "failed to connect to all addresses",
    "errors resolving",
    "DNS resolution failed",
    "empty address list",
    "no children",
    "Received http2 header with status: 503",  # a proxy that has no server behind it
)
_BROKEN = (
    "Socket closed",
    "Cancelling all calls",  # a Python server that was stopped
    "Connection reset",
    "Broken pipe",
    "GOAWAY",
    "RST_STREAM",
    "keepalive",
    "ping timeout",
    "Stream removed",
    "transport",
    "recvmsg",
    "Received http2 header with status",  # a proxy that lost the server in mid-call
)


@dataclass(frozen=True)
class FailedCall:
    """A call that gRPC ended with something else than ``OK``, and what is known of its way."""

    code: grpc.StatusCode
    details: str
    answered: bool
    """Whether trailing metadata came along: only a server sends them."""
    expired: bool
    """Whether the client's own deadline had passed."""
    was_ready: bool
    """Whether the channel was connected when the call was made."""
    is_ready: bool
    """Whether the channel is connected now that it ended."""


_BY_CODE: Mapping[grpc.StatusCode, DropReason] = {
    grpc.StatusCode.RESOURCE_EXHAUSTED: DropReason.OVERLOADED,
    grpc.StatusCode.ABORTED: DropReason.OUT_OF_ORDER,
    grpc.StatusCode.FAILED_PRECONDITION: DropReason.OUT_OF_ORDER,
    # The address answers, but the application is not there (yet): Serve's and any proxy's way to say so.
    grpc.StatusCode.NOT_FOUND: DropReason.UNAVAILABLE,
    grpc.StatusCode.UNIMPLEMENTED: DropReason.UNAVAILABLE,
}
"""Every other code, but the three below, is ``REJECTED``."""


def outcome_of(call: FailedCall) -> Outcome:
    """Tell what became of the frame of a failed call; in doubt, it is unconfirmed."""
    if call.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return _of_deadline(call)
    if call.code is grpc.StatusCode.UNAVAILABLE:
        return _of_unavailable(call)
    if call.code is grpc.StatusCode.CANCELLED or (not call.answered and _is_broken(call.details)):
        return Outcome.unconfirmed(call.details)
    reason = _BY_CODE.get(call.code, DropReason.REJECTED)
    if "larger than max" in call.details:
        reason = DropReason.REJECTED  # gRPC's own size limit: this frame never fits, however idle the service
    return Outcome.dropped(reason, call.details)


def _of_deadline(call: FailedCall) -> Outcome:
    by_server = call.answered or not call.expired or call.details != _EXPIRED
    if by_server:
        return Outcome.dropped(DropReason.DEADLINE, call.details)
    # A call on a connection that breaks ends with UNAVAILABLE; so one that expired on a channel that is
    # connected neither before nor after waited for the connection all the time, and was never sent.
    if not call.was_ready and not call.is_ready:
        return Outcome.dropped(DropReason.UNAVAILABLE, "no connection within the frame's time")
    return Outcome.unconfirmed("no answer within the frame's time")


def _of_unavailable(call: FailedCall) -> Outcome:
    never_sent = any(text in call.details for text in _NEVER_CONNECTED)
    # A server that answers leaves its connection standing; one that dies takes it along.
    by_server = (call.answered or (call.is_ready and not _is_broken(call.details))) and call.details not in LOST_ANSWERS
    if never_sent or by_server:
        return Outcome.dropped(DropReason.UNAVAILABLE, call.details)
    return Outcome.unconfirmed(call.details)


def _is_broken(details: str) -> bool:
    return any(text in details for text in _BROKEN)
