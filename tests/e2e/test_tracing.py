"""Tracing by Serve's ``tracing_config``: a frame's way as one trace, from the camera to the detector."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.core.ports import free_ports
from tests.support.paths import ROOT
from tests.support.system import BIN, running
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


def traced(folder: Path, grpc_port: int, http_port: int) -> Path:
    """Write the shipped Serve configuration with its tracing switched on, and ports of the test's own."""
    text = (ROOT / "serve_config.yaml").read_text()
    assert text.count("enabled: false ") == 1, "one setting"
    config = yaml.safe_load(text.replace("enabled: false ", "enabled: true "))
    assert config["tracing_config"]["enabled"] is True
    config["grpc_options"]["port"], config["http_options"]["port"] = grpc_port, http_port
    path = folder / "serve_config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def spans(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in folder.glob("*.jsonl") for line in file.read_text().splitlines(keepends=False)]


def whole_traces(folder: Path) -> list[dict[str, dict[str, Any]]]:
    """Return the traces that have the camera's span, by their spans' names."""
    traces: dict[str, dict[str, dict[str, Any]]] = {}
    for span in spans(folder):
        traces.setdefault(span["context"]["trace_id"], {})[span["name"]] = span
    return [trace for trace in traces.values() if "frame" in trace and "batch" in trace]


@pytest.mark.parametrize("command", [("serve", "run"), ("sightline", "up", "--config")], ids=" ".join)
def test_one_setting_shows_a_frame_s_way_from_the_camera_to_the_detector(command: tuple[str, ...], tmp_path: Path):
    ray = Path(tempfile.mkdtemp(prefix="slr", dir="/tmp"))  # Ray keeps sockets there: its path must be short
    grpc_port, http_port = free_ports(2)
    config = traced(tmp_path, grpc_port, http_port)
    shell = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "RAY_TMPDIR": str(ray),
        "SIGHTLINE_SPOOL_DIR": str(tmp_path / "spool"),
        "SIGHTLINE_CAMERAS": "street=synthetic://street?seed=7&width=640&height=360",
        "INFERENCE_FPS": "2",
        "INFERENCE_SERVICE_URL": f"127.0.0.1:{grpc_port}",
        "SIGHTLINE_LATENCY_BUDGET_MS": "2000",
    }
    folder = ray / "ray/session_latest/logs/serve/spans"
    try:
        with running([str(BIN / command[0]), *command[1:], str(config)], tmp_path, **shell):
            trace = wait_for(lambda: next(iter(whole_traces(folder)), None), 240, "a frame's whole trace")
    finally:
        shutil.rmtree(ray, ignore_errors=True)
    frame, detect, batch = trace["frame"], trace["detect"], trace["batch"]
    assert frame["parent_id"] is None
    for span in (frame, detect):
        assert span["attributes"]["sightline.camera_id"] == "street"
        assert span["attributes"]["sightline.frame_id"] == frame["attributes"]["sightline.frame_id"]
    assert frame["attributes"]["sightline.outcome"] == "accepted"
    assert detect["attributes"]["sightline.inference_ms"] > 0
    assert frame["start_time"] <= detect["start_time"] <= batch["start_time"]
    assert batch["parent_id"] == detect["context"]["span_id"]
    below = {name for name in trace if "ObjectDetector" in name}
    assert len(below) == 2, "Serve's own spans: the routing to a replica, and the replica's work"
