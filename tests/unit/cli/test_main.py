"""The ``sightline`` command: a user's mistake is one line and exit status 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from app.cli import up
from app.cli.checks import Finding, State
from app.cli.event_lines import describe
from app.publisher.kafka.follower import ReceivedEvent
from tests.support.command import Done, call, run
from tests.support.paths import ROOT


@pytest.mark.parametrize(
    ("command", "how"),
    [pytest.param("up", run, marks=pytest.mark.idle), ("doctor", call), ("events", call)],
    ids=["up", "doctor", "events"],
)
def test_a_wrong_setting_is_one_line_and_status_2_before_anything_starts(command: str, how: Callable[..., Done]):
    done = how(command, INFERENCE_FPS="fast")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "INFERENCE_FPS" in done.stderr
    assert "'fast'" in done.stderr


@pytest.mark.parametrize("model", ["/nowhere/model.pt", "no-such-model.pt", "https://example.org/model.pt"])
def test_up_with_a_model_that_is_not_there_is_one_line_before_anything_starts(model: str):
    done = call("up", DETECTOR_MODEL=model)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "DETECTOR_MODEL" in done.stderr


@pytest.mark.parametrize("command", ["up", "doctor"])
def test_a_model_that_is_not_the_pinned_one_is_one_line_and_status_2_before_it_is_loaded(command: str, tmp_path: Path):
    model, file = tmp_path / "mine.pt", tmp_path / "sightline.yaml"
    model.write_bytes(b"not even a checkpoint")
    file.write_text(yaml.safe_dump({"detector": {"model": str(model), "model_sha256": "0" * 64}}))
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    for application in config["applications"]:
        application["args"]["settings"] = str(file)
    serve_config = tmp_path / "serve_config.yaml"
    serve_config.write_text(yaml.safe_dump(config))
    done = call(command, "--config", str(serve_config))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "detector.model_sha256" in done.stderr


@pytest.mark.idle
def test_a_command_that_does_not_exist_is_status_2_and_no_traceback():
    done = run("no-such-command")
    assert done.returncode == 2
    assert "no-such-command" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        (("up", "--config", "nowhere.yaml"), "nowhere.yaml"),
        (("up", "--no-such-option"), "no-such-option"),
        (("events", "--count", "0"), "count"),
        (("preview", "--out", "x.jpg", "--camera", "nobody"), "nobody"),
        (("cameras", "add", "gate"), "url"),
        (("cameras", "add", "gate", "rtsp://h/1", "--resource", "edge"), "NAME=AMOUNT"),
        (("cameras", "remove"), "camera"),
    ],
)
def test_a_wrong_call_is_status_2_and_no_traceback(arguments: tuple[str, ...], reported: str):
    done = call(*arguments)
    assert done.returncode == 2
    assert reported in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "text",
    ["applications: []", "applications: [x]", "applications: [{args: x}]", "applications: [{args: {settings: 5}}]",
     "applications: [{}]\ngrpc_options: x", "applications: [{args: {settings: a}}, {args: {settings: b}}]", "- x"],
)  # fmt: skip
def test_a_serve_configuration_of_another_shape_is_one_line(tmp_path: Path, text: str):
    file = tmp_path / "serve_config.yaml"
    file.write_text(text)
    done = call("doctor", "--config", str(file))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_following_a_topic_that_is_turned_off_is_a_mistake():
    done = call("events", KAFKA_ENABLED="false")
    assert done.returncode == 2
    assert "KAFKA_ENABLED" in done.stderr


@pytest.mark.idle
def test_following_a_broker_that_is_away_fails_in_one_line():
    done = run("events", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "127.0.0.1:1" in done.stderr


def test_doctor_finds_what_is_wrong_and_says_how_to_mend_it(tmp_path: Path):
    done = call(
        "doctor",
        "--json",
        DETECTOR_MODEL=str(tmp_path / "missing.pt"),
        KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1",
        INFERENCE_SERVICE_URL="127.0.0.1:9999",
        SIGHTLINE_CAMERAS=f"gone={tmp_path}/gone.mp4,fine=synthetic://street?width=320&height=180",
    )
    findings = {finding["what"]: finding for finding in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1
    for what in ("model", "kafka", "camera gone", "service"):
        assert findings[what]["state"] == "failed"
        assert findings[what]["mend"]
    assert findings["camera fine"]["state"] == "ok"
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_doctor_names_the_label_that_the_model_has_not_and_counts_the_masks(tmp_path: Path):
    street = "synthetic://street?width=320&height=180"
    file = tmp_path / "cameras.yaml"
    file.write_text(
        f"cameras: [{{id: a, url: '{street}', classes: [dog]}}, {{id: b, url: '{street}', classes: [car],"
        " masks: [[[0,0],[1,0],[1,0.5]]]}]"
    )
    done = call("doctor", "--json", KAFKA_ENABLED="false", SIGHTLINE_CAMERAS=str(file))
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    failed = [(finding["what"], finding["detail"]) for finding in findings if finding["state"] == "failed"]
    assert failed == [
        ("camera a", "classes: 'dog' is no label of street.pt; allowed are person, bicycle, car, bus, truck")
    ]
    assert done.returncode == 1
    (masked,) = [finding["detail"] for finding in findings if finding["what"] == "camera b"]
    assert masked.endswith(", 1 mask painted")


def test_a_finding_reads_well_for_people_and_for_programs():
    finding = Finding("kafka", State.FAILED, "no broker answers [at all]", "start it")
    assert r"\[at all]" in finding.as_line()
    assert json.loads(finding.as_json())["state"] == "failed"


def test_the_serve_configuration_names_builders_and_deployments_that_exist():
    from deployments import graph

    config = up.read_serve_config(ROOT / "serve_config.yaml")
    for application in config["applications"]:
        module, builder = application["import_path"].split(":")
        assert module == graph.__name__
        assert callable(getattr(graph, builder))
    names = {deployment["name"] for app in config["applications"] for deployment in app["deployments"]}
    assert names == {"DetectionIngress", "ObjectDetector", "CameraManager"}


def received(value: bytes) -> ReceivedEvent:
    return ReceivedEvent("gate-1", value, 0, 0.0, 3, 41)


def test_an_event_is_reported_in_one_line_with_labels_and_latency():
    event = {
        "timestamp": "2026-01-10T12:00:01.000Z",
        "detections": [{"class": "car"}, {"class": "car"}, {"class": "bus"}],
        "latency_ms": {"encode": 1, "transport": 2, "queue": 3, "decode": 4, "inference": 5, "total": 215},
    }
    line = describe(received(json.dumps(event).encode()), 200)
    assert "12:00:01.000" in line
    assert "gate-1" in line
    assert "215 ms!" in line
    assert line.endswith("2 car, 1 bus")


@pytest.mark.parametrize("value", [b"", b"{}", b"no json", b"[]"])
def test_a_stranger_s_record_on_the_topic_is_named_and_does_not_stop_the_follower(value: bytes):
    assert "offset 41" in describe(received(value), 200)


def test_up_keeps_ray_from_sending_usage_statistics():
    code = "from ray._common.usage.usage_lib import usage_stats_enabled; print(usage_stats_enabled())"
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "1"}
    reported = {}
    for name, value in (("tuned", up.TUNED["RAY_USAGE_STATS_ENABLED"]), ("not", "1")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**environment, "RAY_USAGE_STATS_ENABLED": value},
            capture_output=True,
            text=True,
            check=True,
        )
        reported[name] = done.stdout.strip()
    assert reported == {"tuned": "False", "not": "True"}


def test_up_lets_ray_s_own_processes_listen_on_loopback():
    code = "from ray._private.services import get_node_ip_address; print(get_node_ip_address())"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **up.LOOPBACK}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "127.0.0.1"


@pytest.mark.parametrize(
    ("command", "how"),
    [
        pytest.param(("status",), run, marks=pytest.mark.idle),
        (("cameras", "list"), call),
        (("cameras", "add", "a", "rtsp://h/1"), call),
        (("cameras", "remove", "a"), call),
        (("snapshot", "gate", "--out", "x.jpg"), call),
        (("video", "gate", "--out", "x.mp4"), call),
    ],
)
def test_asking_a_system_that_does_not_run_is_one_line_and_status_1(
    tmp_path: Path, command: tuple[str, ...], how: Callable[..., Done]
):
    config = tmp_path / "serve_config.yaml"
    config.write_text("http_options: {port: 9}\napplications: [{name: cameras}]\n")
    done = how(*command, "--config", str(config))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "http://127.0.0.1:9" in done.stderr
    assert "sightline up" in done.stderr
