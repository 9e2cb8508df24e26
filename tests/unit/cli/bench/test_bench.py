"""The bench's plan, files, meter and report; the bench itself is run in tests/e2e."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from app.cameras import CameraState
from app.cli.bench.plan import BenchPaths, BenchPlan, bench_environment, size_of, write_files
from app.cli.bench.processes import ProcessCost, ProcessMeter, Reading, costs
from app.cli.bench.report import BenchReport, Spread, Tally, fairness, screen
from app.errors import SettingsError
from app.fleet import Origin
from app.settings.loading import load_settings
from app.settings.serve_config import read_serve_config
from app.web.camera_fields import CameraFields
from app.web.figures import DroppedLatelyModel, LatencyModel, LedgerModel
from app.web.schemas import BrokerModel, CameraModel, PublisherModel, StatusModel
from tests.support.paths import ROOT
from tests.support.waiting import wait_for


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"cameras": 0}, "--cameras: 0; allowed is 1 to 1000"),
        ({"fps": 0.0}, "--fps: 0.0; allowed is 0.1 to 240"),
        ({"seconds": float("nan")}, "--seconds: nan; allowed is"),
        ({"detector": "yolo"}, "--detector: 'yolo' is unknown; allowed are model and no-op"),
        ({"width": 10}, "width of --size: 10; allowed is 160 to 3840"),
        ({"recording": Path("/nowhere.mp4")}, "--recording: '/nowhere.mp4' is not a file"),
    ],
)
def test_an_impossible_load_is_reported_in_a_line(values: dict[str, object], text: str):
    with pytest.raises(SettingsError, match=text.replace("(", r"\(")):
        BenchPlan(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "1280", "x720", "1280x", "1280x720x3", "-1x5", "１x２"])
def test_what_is_no_size_is_refused(text: str):
    with pytest.raises(SettingsError, match="--size"):
        size_of(text)


def test_a_size_is_read():
    assert size_of("640x360") == (640, 360)


@pytest.fixture
def places(tmp_path: Path) -> BenchPaths:
    return BenchPaths(tmp_path, grpc_port=1234, http_port=2345)


def test_its_files_are_those_of_a_system_with_the_shipped_numbers_and_the_load(places: BenchPaths):
    shipped = read_serve_config(ROOT / "serve_config.yaml")
    write_files(BenchPlan(cameras=3, fps=7, width=640, height=360), shipped, places)
    settings = load_settings({}, places.settings)
    assert [camera.id for camera in settings.cameras] == ["bench-1", "bench-2", "bench-3"]
    assert {camera.fps for camera in settings.cameras} == {7}
    assert "width=640&height=360" in str(settings.cameras[0].url)
    assert settings.inference_service_url.target == "127.0.0.1:1234"
    assert settings.kafka.embedded
    assert settings.spool.dir.parent == places.folder
    config = read_serve_config(places.serve_config)
    assert (config["http_options"]["port"], config["grpc_options"]["port"]) == (2345, 1234)
    inference = config["applications"][0]
    assert inference["import_path"] == shipped["applications"][0]["import_path"]
    assert inference["deployments"] == shipped["applications"][0]["deployments"]
    assert shipped == read_serve_config(ROOT / "serve_config.yaml"), "it was changed in place"


def test_without_a_model_the_same_is_built_by_another_builder(places: BenchPaths):
    write_files(BenchPlan(detector="no-op", detector_cpus=2, max_replicas=1),
                read_serve_config(ROOT / "serve_config.yaml"), places)  # fmt: skip
    inference = yaml.safe_load(places.serve_config.read_text())["applications"][0]
    assert inference["import_path"] == "deployments.graph:build_inference_without_model"
    assert inference["args"]["detector_cpus"] == 2
    (detector,) = [one for one in inference["deployments"] if one["name"] == "ObjectDetector"]
    assert detector["autoscaling_config"]["max_replicas"] == 1


def test_of_the_shell_only_the_model_and_the_budget_are_taken_over():
    shell = {
        "PATH": "/bin",
        "RAY_ADDRESS": "ray://elsewhere",
        "DETECTOR_MODEL": "m.pt",
        "SIGHTLINE_LATENCY_BUDGET_MS": "100",
        "SIGHTLINE_TOKEN": "secret",
        "SIGHTLINE_CAMERAS": "a=b",
        "KAFKA_BOOTSTRAP_SERVERS": "real:9092",
        "KAFKA_SASL_PASSWORD_FILE": "/secret",
    }
    assert bench_environment(shell) == {
        "PATH": "/bin",
        "DETECTOR_MODEL": "m.pt",
        "SIGHTLINE_LATENCY_BUDGET_MS": "100",
    }


def test_a_process_and_its_children_are_metered_and_nothing_else():
    inner = "import subprocess, sys; print('up', flush=True); subprocess.run(['sleep', '60'], env={})"
    marked = {**os.environ, "METER_TEST": str(os.getpid())}
    with subprocess.Popen([sys.executable, "-c", inner], env=marked, stdout=subprocess.PIPE) as process:
        try:
            meter = ProcessMeter(f"METER_TEST={os.getpid()}")
            found = wait_for(lambda: len(meter.read()) == 2 and meter.read(), 20, "the process and its child")
            assert process.pid in found
            assert os.getpid() not in found
            assert found[process.pid].cpu_s > 0
            assert found[process.pid].megabytes > 1
        finally:
            for pid in ProcessMeter(f"METER_TEST={os.getpid()}").read():
                os.kill(pid, 9)


def test_costs_are_what_was_used_in_between_by_kind():
    before = {1: Reading("cameras", 5.0, 10), 2: Reading("ingress", 1.0, 20), 9: Reading("ingress", 9.0, 20)}
    after = {1: Reading("cameras", 6.0, 11), 2: Reading("ingress", 4.0, 20), 3: Reading("cameras", 0.5, 12)}
    assert costs(before, after) == (ProcessCost("ingress", 1, 3.0, 20), ProcessCost("cameras", 2, 1.5, 23))


def test_quantiles_are_of_the_nearest_rank():
    assert Spread.of(list(range(101))) == Spread(50, 95, 99)
    assert Spread.of([]) is None


def test_fairness_is_jains_index():
    assert fairness([5, 5, 5]) == pytest.approx(1)
    assert fairness([10, 0]) == pytest.approx(0.5)
    assert fairness([0, 0]) is None
    assert fairness([]) is None


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def camera(name: str, epoch: int, sampled: int, accepted: int, dropped: Mapping[str, int]) -> CameraModel:
    return CameraModel(
        id=name, url="", state=CameraState.LIVE, reason="", since=NOW, blocked="", trouble="", fps_asked=5,
        fps_sampled=5, fps_sent=5, fps_delivered=5, dropped_lately=DroppedLatelyModel(by_reason={}, held_back=0),
        width=1, height=1, latency=LatencyModel.of(()), round_trip_ms=1, reconnects=0, restarts=0,
        epoch=epoch, decoder=None,
        ledger=LedgerModel(sampled=sampled, accepted=accepted, unconfirmed=0, in_flight=0, dropped=dict(dropped)),
        origin=Origin.CONFIGURED, settings=CameraFields(url="synthetic://street"),
    )  # fmt: skip


def status(*cameras: CameraModel, published: int, breaches: int) -> StatusModel:
    return StatusModel(
        at=NOW, budget_ms=200, cameras=cameras, latency=LatencyModel.of(()), capture_to_kafka_ms=None, deployments=(),
        queue=None, spool=None, viewers=0, cameras_trouble="",
        broker=BrokerModel(enabled=True, embedded=True, servers=(), topic="t", trouble=""),
        publisher=PublisherModel(accepted=published, published=published, quarantined=0, discarded=0, in_flight=0,
                                 failed=0, breaches=breaches),
    )  # fmt: skip


def test_a_tally_is_what_happened_between_two_looks_also_where_a_camera_was_made_again():
    before = status(camera("a", 1, 100, 90, {"superseded": 10}), camera("b", 1, 50, 50, {}), published=140, breaches=3)
    after = status(
        camera("a", 1, 160, 130, {"superseded": 25, "deadline": 5}),
        camera("b", 2, 20, 15, {"deadline": 5}),
        published=190, breaches=5,
    )  # fmt: skip
    assert Tally.between(before, after) == Tally(
        sampled=80, accepted=55, unconfirmed=0, dropped={"superseded": 15, "deadline": 10}, published=50, breaches=2,
        accepted_by_camera={"a": 40, "b": 15},
    )  # fmt: skip


def test_a_report_is_plain_json_and_a_screen_that_names_every_figure():
    tally = Tally(100, 90, 0, {"superseded": 10}, 90, 9, {"bench-1": 90})
    report = BenchReport(
        BenchPlan(cameras=1), "2 cores", 10.0, tally, 9.0, 0.9, 1.0, Spread(50, 100, 150), {"encode": Spread(1, 2, 3)},
        1, (ProcessCost("cameras", 1, 0.9, 100),), 10.0, 100.0,
    )  # fmt: skip
    reported = json.loads(json.dumps(report.as_json()))
    assert reported["tally"]["dropped"] == {"superseded": 10}
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(screen(report))
    text = console.export_text()
    for figure in ("9.0 events/s", "90.0%", "10 superseded", "encode", "150.0", "cameras", "10.00"):
        assert figure in text
