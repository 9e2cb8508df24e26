"""CameraTracing: one span for each frame that a camera sends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode

from app.cameras.frame import EncodedFrame
from app.cameras.outcome import Fate, Outcome
from app.telemetry.tracing import traceparent_of


class SentFrame:
    """The span of a frame that a camera sends."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.traceparent = traceparent_of(span)
        """W3C trace context, sent with the call so that the service's spans belong to this one."""

    def settle(self, outcome: Outcome) -> None:
        """Set what became of the frame as attributes of the span."""
        self._span.set_attribute("sightline.outcome", outcome.fate.value)
        if outcome.reason is not None:
            self._span.set_attribute("sightline.reason", outcome.reason.value)
        if outcome.fate is not Fate.ACCEPTED:
            self._span.set_status(StatusCode.ERROR, outcome.detail)


class CameraTracing:
    """Starts and ends the spans of a camera's frames."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    @contextlib.contextmanager
    def send(self, frame: EncodedFrame) -> Iterator[SentFrame]:
        """Trace a frame, from its capture to the end of the block."""
        span = self._tracer.start_span(
            "frame",
            context=Context(),
            kind=SpanKind.CLIENT,
            start_time=int(frame.captured_at.timestamp() * 1e9),
            attributes={
                "sightline.camera_id": frame.camera_id,
                "sightline.frame_id": frame.frame_id,
                "sightline.encode_ms": frame.encode_ms,
                "sightline.image_bytes": len(frame.jpeg),
            },
        )
        try:
            yield SentFrame(span)
        finally:
            span.end()
