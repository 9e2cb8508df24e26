"""Tracing: the spans of ours, beside those that Ray Serve makes itself; OpenTelemetry, W3C trace context.

One frame's trace: ``frame`` (the camera, from capture to answer) → ``detect`` (the ingress) → ``batch`` → Serve's own
spans of the call to a detector replica. A batch holds frames of several traces: its spans are in the trace of its
first, and have links to the others.

Nothing here is used, nor are its objects made, while tracing is off.
"""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

TRACEPARENT = "traceparent"
"""Name of the W3C trace context in gRPC metadata."""
_PROPAGATOR = TraceContextTextMapPropagator()


def traceparent_of(span: Span) -> str:
    """Return the W3C trace context of a span; empty where it has none."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier.get(TRACEPARENT, "")


def context_of(traceparent: str) -> Context | None:
    """Return the context that a W3C trace context names; an empty one where there is none."""
    return _PROPAGATOR.extract({TRACEPARENT: traceparent}, Context()) if traceparent else Context()


def span_context_of(traceparent: str) -> SpanContext:
    """Return the span context that a W3C trace context names; an invalid one where there is none."""
    return trace.get_current_span(context_of(traceparent)).get_span_context()
