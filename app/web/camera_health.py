"""Camera health: which camera is slow or behind, and why, in one sentence for page, commands and API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from app.cameras import CameraState, CameraStatus, FrameLatency
from app.cameras.ledger import DropReason
from app.core.quantiles import quantiles
from app.core.stage import ANSWER_STAGES
from app.web.facts import CameraFacts

_WORK = {
    "encode": "shrinking and encoding on the camera's node",
    "transport": "transport to the service",
    "queue": "waiting for a detector",
    "decode": "decoding the image",
    "inference": "the model",
    "commit": "making the event durable",
}
_REASONS = {
    DropReason.SUPERSEDED: "a newer frame replaced them before they were sent",
    DropReason.DEADLINE: "their latency budget ran out",
    DropReason.OVERLOADED: "the service was full",
    DropReason.REJECTED: "the service refused them",
    DropReason.UNAVAILABLE: "the service was unavailable",
    DropReason.OUT_OF_ORDER: "they arrived after a newer frame",
    DropReason.ENCODE_ERROR: "they could not be encoded",
    DropReason.DAMAGED: "their pictures were not whole",
    DropReason.SHUTDOWN: "the camera was stopped",
}
DELIVERED_SHARE = 0.8
"""A camera that delivers less than this share of its requested rate is behind."""


def slowest_stage(latencies: Sequence[FrameLatency]) -> tuple[str, float]:
    """Return the stage that takes most of the time of the slowest 5 % of frames, and its mean there in milliseconds."""
    slow = sorted(latencies, key=lambda one: one.total)[-max(1, len(latencies) // 20) :]
    means = {stage: sum(getattr(one, stage) for one in slow) / len(slow) for stage in ANSWER_STAGES}
    stage = max(means, key=lambda name: means[name])
    return stage, means[stage]


def trouble_of(camera: CameraFacts, budget_ms: float) -> str:
    """Return in one sentence what is wrong with a camera and why; empty where nothing is."""
    status = camera.status
    if status is None:
        return camera.silence
    if status.state not in (CameraState.LIVE, CameraState.ENDED):
        return f"{status.state}: {status.reason}" if status.reason else str(status.state)
    if status.state is CameraState.ENDED:
        return ""
    if status.blocked is not None:
        return f"blocked: {status.blocked}"
    return _slow(camera.latencies, budget_ms) or _behind(camera)


def _slow(latencies: Sequence[FrameLatency], budget_ms: float) -> str:
    spread = quantiles([one.total for one in latencies])
    if spread is None or spread.p95 <= budget_ms:
        return ""
    stage, mean = slowest_stage(latencies)
    return f"slow: p95 {spread.p95:.0f} ms of {budget_ms:.0f} ms, most of it {_WORK[stage]} ({stage} {mean:.0f} ms)"


def _behind(camera: CameraFacts) -> str:
    status = camera.status
    assert status is not None
    # A source may give fewer frames than requested, which is not a fault.
    expected = min(status.fps_asked, status.fps_measured)
    if status.fps_delivered >= DELIVERED_SHARE * expected or not status.dropped_lately.by_reason:
        return ""
    return f"behind: {_cause(status, expected)}"


def _cause(status: CameraStatus, expected: float) -> str:
    """Return why most of the recently dropped frames were dropped."""
    held_back = status.dropped_lately.held_back
    counts = Counter(status.dropped_lately.by_reason)
    counts[DropReason.SUPERSEDED] -= held_back  # the reason is a busy service, not the newer frame
    ((reason, count),) = counts.most_common(1)
    if held_back >= count:
        return (
            f"the service is busy, so the camera sends it {status.fps_sent:.1f} of {expected:.1f} frames a second; "
            f"{status.fps_delivered:.1f} become events"
        )
    return (
        f"{status.fps_delivered:.1f} of {expected:.1f} frames a second become events; "
        f"most of those dropped lately were {reason.value} ({_REASONS[reason]})"
    )
