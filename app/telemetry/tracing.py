"""Tracing: how Sightline's spans are connected, beside those of Ray Serve (OpenTelemetry, W3C trace context).

One frame's trace: ``frame`` (the camera, from capture to answer) → ``detect`` (the ingress) → ``batch`` → Serve's own
spans of the call to a detector replica. A batch holds frames of several traces: its spans belong to the trace of its
first frame, and have links to the others.

Nothing here is used while tracing is off.
"""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

TRACEPARENT = "traceparent"
"""Key of the W3C trace context in gRPC metadata."""
_PROPAGATOR = TraceContextTextMapPropagator()


def traceparent_of(span: Span) -> str:
    """Return the W3C trace context of a span; empty where it has none."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier.get(TRACEPARENT, "")


def context_of(traceparent: str) -> Context | None:
    """Return the context of a W3C trace context; an empty one where that is empty."""
    return _PROPAGATOR.extract({TRACEPARENT: traceparent}, Context()) if traceparent else Context()


def span_context_of(traceparent: str) -> SpanContext:
    """Return the span context of a W3C trace context; an invalid one where that is empty."""
    return trace.get_current_span(context_of(traceparent)).get_span_context()
