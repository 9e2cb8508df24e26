"""The whole system as a user starts it, and what is left when it ends."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import jsonschema
import numpy as np
import pytest

from app.simulation.spec import StreetSpec
from app.simulation.sprites import LABELS
from app.simulation.street import Street
from tests.support.accounts import Account
from tests.support.command import call
from tests.support.http_server import HttpServer
from tests.support.rtsp_server import RtspServer
from tests.support.system import BIN, listening, running
from tests.support.topic import Record, TopicReader
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]
TOPIC = "events.detections"
SEEDS = {"street-east": 7, "street-west": 11}


def events_of(records: list[Record]) -> Counter[str]:
    return Counter(record.key for record in records)


def stages(latency_ms: dict[str, float]) -> float:
    return sum(spent for stage, spent in latency_ms.items() if stage != "total")


def share_found(records: list[Record]) -> float:
    """Return the share of the objects at least half visible that the events name with the right class and place."""
    streets = {camera: Street(StreetSpec(seed=seed)) for camera, seed in SEEDS.items()}
    found = drawn = 0
    for record in records:
        truth = streets[record.key].frame(int(record.value["frame_id"].split("-")[1])).truth
        for box, class_id in zip(truth.boxes[truth.visible >= 0.5], truth.class_ids[truth.visible >= 0.5], strict=True):
            drawn += 1
            found += any(
                seen["class"] == LABELS[class_id] and overlap(box, seen["bbox"]) >= 0.5
                for seen in record.value["detections"]
            )
    assert drawn > 50
    return found / drawn


def overlap(box: np.ndarray, bbox: list[float]) -> float:
    x, y, width, height = bbox
    wide = min(box[2], x + width) - max(box[0], x)
    high = min(box[3], y + height) - max(box[1], y)
    both = max(0.0, wide) * max(0.0, high)
    return both / ((box[2] - box[0]) * (box[3] - box[1]) + width * height - both)


def test_serve_run_shows_the_whole_system_at_work_and_ctrl_c_leaves_nothing(
    tmp_path: Path, event_schema: jsonschema.Draft202012Validator
):
    command = [str(BIN / "serve"), "run", "serve_config.yaml"]
    with running(command, tmp_path, RAY_USAGE_STATS_ENABLED="0") as system:
        broker = system.broker()
        reported = system.wait_for_line("embedded broker")
        assert broker in reported
        assert "sightline events" in reported
        reader = TopicReader(broker, TOPIC)
        records = reader.read(
            lambda read: len(read) >= 40 and min(events_of(read).get(camera, 0) for camera in SEEDS) >= 10, 180
        )
        reader.close()
        line = system.wait_for_line(" events/s | ", 60)
        assert "capture to Kafka p50" in line
        assert "of 200 ms" in line
        for record in records:
            event_schema.validate(record.value)
            assert record.key == record.value["camera_id"]
            assert record.value["frame"] == {"width": 1280, "height": 720}
            assert 0 < stages(record.value["latency_ms"]) <= record.value["latency_ms"]["total"] + 1
        for camera in SEEDS:
            stamps = [record.value["timestamp"] for record in records if record.key == camera]
            assert stamps == sorted(stamps)
        assert share_found(records) >= 0.8
        shown = call("status")
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "embedded" in shown.stdout
        system.interrupt()
        wait_for(lambda: not system.survivors(), 30, "the end of every process")
        ports = [9000, 8000, int(broker.rsplit(":", 1)[1])]
        wait_for(lambda: not any(listening(port) for port in ports), 30, "the closing of every port")


CANARY = "canary4d1f"
"""A secret: it may be nowhere that people look."""
CLUSTER = Path("/tmp/sightline-e2e")
"""Ray keeps sockets in its folder, whose path must be short."""
DASHBOARD = "http://127.0.0.1:8266"
DASHBOARD_ANSWERS = (
    "/api/serve/applications/",
    "/api/v0/actors?detail=1",
    "/api/v0/tasks?detail=1",
    "/api/v0/runtime_envs?detail=1",
    "/api/v0/workers?detail=1",
    "/api/jobs/",
    "/logical/actors",
    "/nodes?view=summary",
)


def metrics_pages() -> list[str]:
    """Return the addresses that Prometheus would scrape."""
    groups = json.loads((CLUSTER / "prom_metrics_service_discovery.json").read_text())
    return [f"http://{target}/metrics" for group in groups for target in group["targets"]]


def shown() -> dict[str, str]:
    """Return all that people can see of a running system but its own output, by where it is seen."""
    found = {}
    for path in CLUSTER.glob("session_2*/**/*"):
        with contextlib.suppress(OSError):
            if path.is_file():
                found[str(path)] = path.read_text(errors="replace")
    pages = [f"{DASHBOARD}{path}" for path in DASHBOARD_ANSWERS]
    pages += [f"http://127.0.0.1:8000/{path}" for path in ("healthz", "readyz", "")]
    for page in [*pages, *metrics_pages()]:
        answer = httpx.get(page, timeout=20)
        assert answer.status_code in (200, 404, 503), f"{page}: {answer.text}"
        found[page] = answer.text
    return found


@dataclass(frozen=True)
class Gates:
    """Real servers that ask for a password: two let the canary in, two refuse it, two are not there."""

    urls: Mapping[str, str]

    @property
    def setting(self) -> str:
        return ",".join(f"{camera}={url}" for camera, url in self.urls.items())


@pytest.fixture
def gates() -> Iterator[Gates]:
    ours, theirs = Account("viewer", CANARY), Account("viewer", "another")
    query = f"token={CANARY}"
    with (
        RtspServer(account=ours) as rtsp,
        RtspServer(account=theirs) as refusing_rtsp,
        HttpServer() as http,
        HttpServer() as refusing_http,
    ):
        http.account, refusing_http.account = ours, theirs
        yield Gates(
            {
                "rtsp-open": rtsp.url(query=query, user="viewer", password=CANARY),
                "rtsp-shut": refusing_rtsp.url(query=query, user="viewer", password=CANARY),
                "http-open": http.url(f"live?{query}", "viewer", CANARY),
                "http-shut": refusing_http.url(f"live?{query}", "viewer", CANARY),
                "gate": f"rtsp://viewer:{CANARY}@127.0.0.1:9/stream1",
                "yard": f"http://viewer:{CANARY}@127.0.0.1:9/video?{query}",
            }
        )


def test_up_joins_a_running_cluster_hands_on_settings_without_showing_secrets_and_leaves_it_as_it_was(
    tmp_path: Path, gates: Gates
):
    head = ["--port", "6391", "--temp-dir", str(CLUSTER), "--dashboard-port", DASHBOARD.rsplit(":", 1)[1]]
    start = [str(BIN / "ray"), "start", "--head", "--block", "--num-cpus", "4", *head]
    with running(start, tmp_path, RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled") as cluster:
        cluster.wait_for_line("Ray runtime started")
        shell = {
            "RAY_ADDRESS": "127.0.0.1:6391",
            "RAY_AUTH_MODE": "disabled",
            "SIGHTLINE_CAMERAS": f"solo=synthetic://street?seed=7&width=640&height=360,{gates.setting}",
            "SIGHTLINE_TOKEN": CANARY,
            "KAFKA_TOPIC": "another.topic",
            "INFERENCE_FPS": "2",
        }
        with running([str(BIN / "sightline"), "up"], tmp_path, **shell) as system:
            broker = system.broker()
            reader = TopicReader(broker, "another.topic")
            seeing = {"solo", "rtsp-open", "http-open"}
            records = reader.read(lambda read: set(events_of(read)) >= seeing and len(read) >= 12, 120)
            reader.close()
            assert set(events_of(records)) == seeing
            solo = next(record for record in records if record.key == "solo")
            assert solo.value["frame"] == {"width": 640, "height": 360}
            for camera, reason in (
                ("gate", "refused"),
                ("yard", "refused"),
                ("rtsp-shut", "401"),
                ("http-shut", "401"),
            ):
                assert reason in system.wait_for_line(f"camera {camera} unreachable", 60)
            # Ray hands metrics on every ten seconds.
            wait_for(
                lambda: any("sightline_frames_sampled" in httpx.get(page, timeout=20).text for page in metrics_pages()),
                60,
                "our metrics",
            )
            seen = shown() | {"the terminal": system.output, "the cluster's": cluster.output}
            seen |= {f"event {number}": json.dumps(record.value) for number, record in enumerate(records)}
            assert {"the terminal", f"{DASHBOARD}/api/serve/applications/"} <= seen.keys()
            assert any("rtsp://viewer:***@" in text for place, text in seen.items() if place.endswith(".err"))
            assert [place for place, text in seen.items() if CANARY in text] == []
            assert system.interrupt() == 0

        def left() -> list[str]:
            return [line for line in cluster.survivors() if any(word in line for word in ("Serve", "Camera"))]

        wait_for(lambda: not left(), 60, "the end of every actor of ours")
        assert not listening(int(broker.rsplit(":", 1)[1]))
        assert any("raylet" in line for line in cluster.survivors())


def test_a_wrong_setting_under_serve_run_is_one_line_that_names_it_and_no_traceback(tmp_path: Path):
    command = [str(BIN / "serve"), "run", "serve_config.yaml"]
    with running(command, tmp_path, RAY_USAGE_STATS_ENABLED="0", INFERENCE_FPS="fast") as system:
        for application in ("inference", "cameras"):
            system.wait_for_line(f"Deploying app '{application}' failed", 120)
        reported = system.wait_for_line("INFERENCE_FPS", 10)
        assert "'fast'" in reported
        assert "valid number" in reported
        system.interrupt()
        assert "Traceback" not in system.output
