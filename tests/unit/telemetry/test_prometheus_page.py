"""The metrics page of a process without Ray: the names, labels and numbers that Ray's page would show."""

from __future__ import annotations

import socket
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.cameras.telemetry import CameraTelemetry
from app.errors import SettingsError
from app.publisher.telemetry import PublisherTelemetry
from app.telemetry.prometheus_page import PageMeter


def read(meter: PageMeter) -> list[object]:
    with meter.served("127.0.0.1", 0) as address, urllib.request.urlopen(address, timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return [sample for family in families for sample in family.samples]


def test_the_page_shows_each_metric_under_the_name_and_labels_that_ray_exports():
    meter = PageMeter()
    CameraTelemetry("gate-1", meter).in_flight(2)
    CameraTelemetry("gate-1", meter).up(True)
    shown = {sample.name: set(sample.labels) for sample in read(meter) if sample.name.startswith("ray_")}
    assert shown == {
        "ray_sightline_frames_sampled_total": {"camera_id"},
        "ray_sightline_frames_accepted_total": {"camera_id"},
        "ray_sightline_frames_dropped_total": {"camera_id", "reason"},
        "ray_sightline_frames_in_flight": {"camera_id"},
        "ray_sightline_camera_up": {"camera_id"},
        "ray_sightline_camera_reconnects_total": {"camera_id"},
    }


def test_the_page_counts_from_0_and_knows_histograms_and_gauges_without_labels():
    meter = PageMeter()
    telemetry_ = PublisherTelemetry(meter)
    telemetry_.published("gate-1", 0.15, 0.002, 0.003, breach=False)
    telemetry_.published("gate-1", 0.25, 0.002, 0.003, breach=True)
    telemetry_.spool(3, 300, 1.5, 0)
    shown = {(one.name, one.labels.get("le")): one.value for one in read(meter) if "stage" not in one.labels}
    assert shown["ray_sightline_slo_breaches_total", None] == 1
    assert shown["ray_sightline_capture_to_publish_seconds_bucket", "0.2"] == 1
    assert shown["ray_sightline_capture_to_publish_seconds_bucket", "0.25"] == 2
    assert shown["ray_sightline_spool_oldest_age_seconds", None] == 1.5


def test_the_spool_s_gauges_tell_shards_apart_where_there_are_several():
    meter = PageMeter()
    PublisherTelemetry(meter, shard=1).spool(3, 300, 1.5, 0)
    PublisherTelemetry(meter, shard=2).spool(4, 400, 2.5, 1)
    waiting = {one.labels["shard"]: one.value for one in read(meter) if one.name == "ray_sightline_spool_events"}
    assert waiting == {"1": 3, "2": 4}


def test_a_port_that_is_taken_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"--metrics-port.*{port}"), PageMeter().served("127.0.0.1", port):
            pass
