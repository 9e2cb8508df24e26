"""The event: its schema, its id, its headers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonschema
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from app.core.event import DetectedObject, DetectionEvent, StageLatencies, make_event_id
from app.errors import DeliveryRefused
from app.publisher import make_record
from app.publisher.record import make_outbox_record
from app.publisher.spool.outbox import OutboxRecord
from app.settings.connections import KafkaSettings
from tests.support.paths import ROOT

CAPTURED_NS = 1_768_046_401_000_999_999


def event(**changes: Any) -> DetectionEvent:
    fields: dict[str, Any] = {
        "camera_id": "cam_01",
        "frame_id": "frame_123456",
        "captured_at_ns": CAPTURED_NS,
        "width": 1920,
        "height": 1080,
        "model": "yolo26n.pt",
        "objects": (DetectedObject("car", 2, 0.95, (100.0, 200.0, 300.0, 400.0)),),
        "latency": StageLatencies(encode=1.2, transport=2.9, queue=3.1, decode=1.4, inference=12.4),
    }
    return DetectionEvent(**{**fields, **changes})


def body(made: DetectionEvent, **how: Any) -> dict[str, Any]:
    return json.loads(make_record(made, **{"total_ms": 24.8, **how}).value)


def test_an_event_says_what_the_contract_shows(event_schema: jsonschema.Draft202012Validator):
    reported = body(event())
    event_schema.validate(reported)
    assert reported == {
        "schema_version": 1,
        "event_id": event().event_id,
        "timestamp": "2026-01-10T12:00:01.000Z",
        "camera_id": "cam_01",
        "frame_id": "frame_123456",
        "frame": {"width": 1920, "height": 1080},
        "model": "yolo26n.pt",
        "detections": [
            {
                "class": "car",
                "class_id": 2,
                "confidence": 0.95,
                "bbox": [100.0, 200.0, 300.0, 400.0],
                "track_id": None,
            }
        ],
        "anomaly_type": None,
        "anomalies": [],
        "image_url": None,
        "inference_latency_ms": 12.4,
        "latency_ms": {
            "encode": 1.2,
            "transport": 2.9,
            "queue": 3.1,
            "decode": 1.4,
            "inference": 12.4,
            "total": 24.8,
        },
        "replayed": False,
    }


def test_a_tracked_object_bears_its_id(event_schema: jsonschema.Draft202012Validator):
    tracked = DetectedObject("car", 2, 0.95, (100.0, 200.0, 300.0, 400.0), track_id=176_000_000_000)
    reported = body(event(objects=(tracked,)))
    event_schema.validate(reported)
    assert reported["detections"][0]["track_id"] == 176_000_000_000


def test_a_record_has_the_camera_for_key_the_capture_time_and_cloudevents_headers():
    record = make_record(event(), total_ms=1.0)
    assert record.key == b"cam_01"
    assert record.timestamp_ms == CAPTURED_NS // 1_000_000
    assert {name: value.decode() for name, value in record.headers} == {
        "content-type": "application/json",
        "ce_specversion": "1.0",
        "ce_id": event().event_id,
        "ce_type": "sightline.detection.v1",
        "ce_source": "/cameras/cam_01",
        "ce_time": "2026-01-10T12:00:01.000Z",
    }


def test_the_same_frame_has_the_same_id_for_ever():
    # Written down once: a change of the namespace or of the recipe would break consumers that drop repeats.
    assert make_event_id("cam_01", "frame_1", 1) == "07da864c-6af4-56af-b7e5-db73b7c3fa01"


def test_another_camera_frame_or_instant_has_another_id():
    ids = {make_event_id(*parts) for parts in (("a", "b", 1), ("a", "c", 1), ("b", "b", 1), ("a", "b", 2))}
    assert len(ids) == 4


def test_a_replayed_event_says_so():
    assert body(event(), replayed=True)["replayed"] is True


anything = st.floats(allow_nan=True, allow_infinity=True)


@given(
    text=st.text(min_size=1, max_size=50),
    score=st.floats(0, 1),
    box=st.tuples(*[st.floats(0, 1e5)] * 4),
    ms=st.tuples(*[anything] * 6),
    captured=st.integers(0, 4_000_000_000_000_000_000),
)
def test_every_event_holds_to_the_schema_whatever_is_in_it(
    event_schema: jsonschema.Draft202012Validator, text, score, box, ms, captured
):
    made = event(
        frame_id=text,
        captured_at_ns=captured,
        objects=(DetectedObject(text, 0, score, box),),
        latency=StageLatencies(*ms[:5]),
    )
    event_schema.validate(body(made, total_ms=ms[5]))


def test_a_frame_that_reached_the_limit_of_detections_is_marked(event_schema: jsonschema.Draft202012Validator):
    marked = body(replace(event(), truncated=True))
    assert marked["truncated"] is True
    event_schema.validate(marked)
    assert not event_schema.is_valid({**marked, "truncated": "yes"})


@pytest.mark.parametrize("missing", ["event_id", "detections", "latency_ms", "replayed"])
def test_the_schema_refuses_an_event_that_lacks_a_field(event_schema: jsonschema.Draft202012Validator, missing: str):
    reported = body(event())
    del reported[missing]
    assert not event_schema.is_valid(reported)


def test_the_asyncapi_document_describes_every_topic_with_its_schema():
    document = yaml.safe_load((ROOT / "proto" / "asyncapi.yaml").read_text())
    assert document["asyncapi"].startswith("3.")
    kafka = KafkaSettings()
    addresses = {name: channel["address"] for name, channel in document["channels"].items()}
    assert addresses == {"detections": kafka.topic, **kafka.channel_topics}
    records = {
        channel: make_outbox_record(OutboxRecord(channel, "id", "cam", 0, b"{}")) for channel in kafka.channel_topics
    }
    for name, made in {"detections": make_record(event(), total_ms=1.0), **records}.items():
        channel = document["channels"][name]
        assert channel["bindings"]["kafka"]["partitions"] == kafka.partitions
        assert channel["bindings"]["kafka"]["topic"] == channel["address"]
        (described,) = channel["messages"]
        message = document["components"]["messages"][described]
        headers = dict(made.headers)
        assert set(message["headers"]["required"]) == set(headers)
        assert message["name"] == headers["ce_type"].decode()
        assert (ROOT / "proto" / message["payload"]["schema"]["$ref"]).is_file()


def test_every_reference_within_the_asyncapi_document_resolves():
    document = yaml.safe_load((ROOT / "proto" / "asyncapi.yaml").read_text())
    references = list(found(document))
    assert len(references) >= 4
    for reference in references:
        if reference.startswith("#/"):
            here = document
            for part in reference[2:].split("/"):
                here = here[part]


def found(node: Any):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from found(value)
    elif isinstance(node, list):
        for value in node:
            yield from found(value)


numbers = st.floats(0, 1e6, allow_nan=False) | st.floats(0, 1e-6) | st.just(5e-324) | st.just(1e22)


@given(box=st.tuples(numbers, numbers, numbers, numbers), confidence=st.floats(0, 1), name=st.text(max_size=8))
def test_a_record_is_what_python_s_own_encoder_would_write(
    box: tuple[float, float, float, float], confidence: float, name: str
):
    made = event(frame_id=name, objects=(DetectedObject(name, 2, confidence, box, 2**53 - 1),))
    try:
        value = make_record(made, total_ms=24.8).value
    except DeliveryRefused:
        with pytest.raises(UnicodeEncodeError):
            name.encode()
        return
    reported = json.loads(value)
    again = json.dumps(reported, separators=(",", ":"), ensure_ascii=False)
    assert json.loads(again) == reported
    assert list(reported)[:6] == ["schema_version", "event_id", "timestamp", "camera_id", "frame_id", "frame"]
    (found,) = reported["detections"]
    assert found["bbox"] == [round(side, 2) for side in box]
    assert found["confidence"] == round(confidence, 4)
    assert (found["class"], reported["frame_id"], found["track_id"]) == (name, name, 2**53 - 1)


def test_incidents_are_written_as_they_are_published():
    anomalies = ({"anomaly_id": "a", "value": np.float64(10.2), "track_ids": [1, 2]},)
    assert body(event(anomalies=anomalies))["anomalies"] == [{"anomaly_id": "a", "value": 10.2, "track_ids": [1, 2]}]
    with pytest.raises(DeliveryRefused):
        make_record(event(anomalies=({"value": float("nan")},)), total_ms=1)
