"""The spans of a frame: one trace from the camera to the detector, also where Serve's proxy loses it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from app.cameras.frame import EncodedFrame
from app.cameras.ledger import DropReason
from app.cameras.outcome import Outcome
from app.cameras.sending.tracing import CameraTracing
from app.ingress.tracing import ServiceTracing

CAPTURED = datetime(2026, 1, 10, 12, 0, 1, tzinfo=UTC)


def frame(frame_id: str = "7-1") -> EncodedFrame:
    return EncodedFrame("gate-1", frame_id, 7, 1, CAPTURED, 0.0, b"jpeg", 640, 360, 1.5)


class Bench:
    """A tracer whose finished spans are kept."""

    def __init__(self, provider: TracerProvider) -> None:
        self._kept = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(self._kept))
        self.tracer = provider.get_tracer("test")
        self.camera = CameraTracing(self.tracer)
        self.service = ServiceTracing(self.tracer)

    def span(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self._kept.get_finished_spans() if span.name == name]
        return found

    @property
    def names(self) -> list[str]:
        return [span.name for span in self._kept.get_finished_spans()]


@pytest.fixture
def bench() -> Bench:
    return Bench(TracerProvider())


def test_a_frame_s_span_begins_at_its_capture_and_has_its_camera_and_its_fate(bench: Bench):
    with bench.camera.send(frame()) as sent:
        sent.settle(Outcome.dropped(DropReason.OVERLOADED, "too many wait"))
    span = bench.span("frame")
    assert span.start_time == 1_768_046_401_000_000_000
    assert span.attributes is not None
    assert span.attributes["sightline.camera_id"] == "gate-1"
    assert span.attributes["sightline.frame_id"] == "7-1"
    assert span.attributes["sightline.reason"] == "overloaded"
    assert not span.status.is_ok


def test_the_call_is_in_the_camera_s_trace_though_serve_s_own_span_is_not(bench: Bench):
    with (
        bench.camera.send(frame()) as sent,
        bench.tracer.start_as_current_span("of Serve"),
        bench.service.detect({"traceparent": sent.traceparent}),
    ):
        pass
    sending, serving, detecting = bench.span("frame"), bench.span("of Serve"), bench.span("detect")
    assert detecting.parent is not None
    assert detecting.parent.span_id == sending.context.span_id
    assert detecting.context.trace_id == sending.context.trace_id
    assert [link.context.span_id for link in detecting.links] == [serving.context.span_id]


def test_where_serve_s_span_is_in_the_trace_the_call_is_its_child(bench: Bench):
    with bench.tracer.start_as_current_span("of the caller") as caller:
        received = f"00-{caller.get_span_context().trace_id:032x}-{caller.get_span_context().span_id:016x}-01"
        with bench.tracer.start_as_current_span("of Serve"), bench.service.detect({"traceparent": received}):
            pass
    parent = bench.span("detect").parent
    assert parent is not None
    assert parent.span_id == bench.span("of Serve").context.span_id


def test_a_batch_is_in_the_trace_of_its_first_frame_and_linked_to_the_others(bench: Bench):
    with bench.camera.send(frame("7-1")) as first, bench.camera.send(frame("7-2")) as second:
        together = ["", first.traceparent, second.traceparent]
        with bench.service.batch(together), bench.tracer.start_as_current_span("call to a replica"):
            pass
        assert not trace.get_current_span().get_span_context().is_valid
    batch, call = bench.span("batch"), bench.span("call to a replica")
    assert call.parent is not None
    assert call.parent.span_id == batch.context.span_id
    assert f"{batch.context.trace_id:032x}" in first.traceparent
    assert [f"{link.context.span_id:016x}" in second.traceparent for link in batch.links] == [True]


def test_a_call_that_sampling_left_out_has_no_span_of_sightline_either(bench: Bench):
    off = Bench(TracerProvider(sampler=ALWAYS_OFF))
    with (
        off.camera.send(frame()) as sent,
        bench.service.detect({"traceparent": sent.traceparent}) as detected,
        bench.service.batch([detected.traceparent]),
    ):
        pass
    with bench.service.detect({}) as detected, bench.service.batch([detected.traceparent]):
        pass
    assert bench.names == []


@pytest.mark.parametrize("received", ["", "nonsense", "00-0-0-01", "ff-" + "a" * 32 + "-" + "b" * 16 + "-01"])
def test_a_malformed_trace_context_is_none(bench: Bench, received: str):
    with (
        bench.service.detect({"traceparent": received}) as detected,
        bench.service.batch([received, detected.traceparent]),
    ):
        pass
    assert bench.names == []
