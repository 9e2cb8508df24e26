"""Which camera is slow, and why: one judgement for the page, the commands and the API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from app.cameras import CameraState, CameraStatus, FrameLatency
from app.cameras.ledger import DropReason
from app.core.quantiles import quantiles
from app.core.stage import ANSWER_STAGES
from app.web.facts import CameraFacts

_WHOSE = {
    "encode": "shrinking and encoding on the camera's node",
    "transport": "the way to the service",
    "queue": "waiting for a detector",
    "decode": "decoding the picture",
    "inference": "the model",
    "commit": "making the event durable",
}
_REASONS = {
    DropReason.SUPERSEDED: "a newer frame took their place before they were sent",
    DropReason.DEADLINE: "their time ran out",
    DropReason.OVERLOADED: "the service was full",
    DropReason.REJECTED: "the service refused them",
    DropReason.UNAVAILABLE: "no service was there",
    DropReason.OUT_OF_ORDER: "they came too late for their turn",
    DropReason.ENCODE_ERROR: "they could not be encoded",
    DropReason.SHUTDOWN: "the camera was stopped",
}
DELIVERED_SHARE = 0.8
"""Below this part of the rate asked a camera falls behind."""


def slowest_stage(latencies: Sequence[FrameLatency]) -> tuple[str, float]:
    """Give the stage that most of the slowest twentieth of the frames' time went to, and its mean there, in ms."""
    slow = sorted(latencies, key=lambda one: one.total)[-max(1, len(latencies) // 20) :]
    means = {stage: sum(getattr(one, stage) for one in slow) / len(slow) for stage in ANSWER_STAGES}
    stage = max(means, key=lambda name: means[name])
    return stage, means[stage]


def trouble_of(camera: CameraFacts, budget_ms: float) -> str:
    """Say in one sentence what is wrong with a camera and why; nothing where all is well."""
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
    return f"slow: p95 {spread.p95:.0f} ms of {budget_ms:.0f} ms, most of it {_WHOSE[stage]} ({stage} {mean:.0f} ms)"


def _behind(camera: CameraFacts) -> str:
    status = camera.status
    assert status is not None
    # A source may give fewer frames than asked; that is its own matter, and no fault.
    wanted = min(status.fps_asked, status.fps_measured)
    if status.fps_delivered >= DELIVERED_SHARE * wanted or not status.dropped_lately.by_reason:
        return ""
    return f"behind: {_cause(status, wanted)}"


def _cause(status: CameraStatus, wanted: float) -> str:
    """Say what most frames were dropped for of late."""
    held_back = status.dropped_lately.held_back
    counts = Counter(status.dropped_lately.by_reason)
    counts[DropReason.SUPERSEDED] -= held_back  # a busy service is why, not the newer frame
    ((reason, count),) = counts.most_common(1)
    if held_back >= count:
        return (
            f"the service is busy, so the camera sends it {status.fps_sent:.1f} of {wanted:.1f} frames a second; "
            f"{status.fps_delivered:.1f} become events"
        )
    return (
        f"{status.fps_delivered:.1f} of {wanted:.1f} frames a second become events; "
        f"of those dropped lately most were {reason.value} ({_REASONS[reason]})"
    )
