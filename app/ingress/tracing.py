"""ServiceTracing: the spans of the ingress, one a call and one a batch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Link, Span, SpanKind, StatusCode

from app.core.event import DetectionEvent
from app.telemetry.tracing import TRACEPARENT, context_of, span_context_of, traceparent_of


class DetectedFrame:
    """The span of a ``Detect`` call in the ingress."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.traceparent = traceparent_of(span)

    def answered(self, event: DetectionEvent) -> None:
        """Record that the event is durable, and how long each stage took."""
        latency = event.latency
        self._span.set_attributes(
            {
                "sightline.camera_id": event.camera_id,
                "sightline.frame_id": event.frame_id,
                "sightline.event_id": event.event_id,
                "sightline.objects": len(event.objects),
                "sightline.transport_ms": latency.transport,
                "sightline.queue_ms": latency.queue,
                "sightline.decode_ms": latency.decode,
                "sightline.inference_ms": latency.inference,
            }
        )

    def failed(self, camera_id: str, code: str, details: str) -> None:
        """Record that the call was refused, or failed."""
        self._span.set_attributes({"sightline.camera_id": camera_id, "rpc.grpc.status": code})
        self._span.set_status(StatusCode.ERROR, details)


class ServiceTracing:
    """Makes the spans of the ingress."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    @contextlib.contextmanager
    def detect(self, metadata: Mapping[str, str]) -> Iterator[DetectedFrame]:
        """Trace a call.

        It belongs to the caller's trace, where the metadata name one, and else to that of the surrounding span. Where
        the surrounding span, Serve's own, is of another trace, there is a link to it: Serve's proxy for gRPC passes no
        trace context on.
        """
        around = trace.get_current_span().get_span_context()
        context = context_of(metadata.get(TRACEPARENT, ""))
        caller = trace.get_current_span(context).get_span_context()
        links = []
        if not caller.is_valid or caller.trace_id == around.trace_id:
            context = None  # the span around it is the nearer parent
        elif around.is_valid:
            links = [Link(around)]
        if not (caller.is_valid or around.is_valid):
            yield DetectedFrame(trace.INVALID_SPAN)  # Serve's sampling left this call out
            return
        with self._tracer.start_as_current_span("detect", context=context, kind=SpanKind.SERVER, links=links) as span:
            yield DetectedFrame(span)

    @contextlib.contextmanager
    def batch(self, traceparents: Sequence[str]) -> Iterator[None]:
        """Trace a call to a detector that carries frames of these traces; an empty one is not traced."""
        traced = [found for found in map(span_context_of, traceparents) if found.is_valid and found.trace_flags.sampled]
        if not traced:
            yield
            return
        first, others = traced[0], traced[1:]
        span = self._tracer.start_span(
            "batch",
            context=trace.set_span_in_context(trace.NonRecordingSpan(first), Context()),
            kind=SpanKind.CLIENT,
            attributes={"sightline.frames": len(traceparents)},
            links=[Link(other) for other in others],
        )
        token = attach(trace.set_span_in_context(span, Context()))
        try:
            yield
        finally:
            detach(token)
            span.end()
