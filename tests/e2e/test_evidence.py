"""Pictures and clips of incidents in the system as a user runs it: from the rule to the store, the API and the page."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import httpx
import numpy as np
import pytest
import yaml

from app.core.ports import free_ports
from tests.support.browser import browser
from tests.support.command import SIGHTLINE
from tests.support.faults import PUBLISHER
from tests.support.object_store import KEY, SECRET, Inspector, moto
from tests.support.paths import ROOT
from tests.support.system import BIN, System, running
from tests.support.topic import TopicReader
from tests.support.waiting import wait_for
from tests.support.watched_system import apart, on_ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
RULES = """
rules:
  - {id: half-way, type: line_crossing, line: [[0.5, 0], [0.5, 1]], evidence: [snapshot, clip], severity: warning}
  - {id: a-third, type: line_crossing, line: [[0.33, 0], [0.33, 1]]}
"""
STREET = "street=synthetic://street?seed=7&width=640&height=360&objects=6"


@dataclass(frozen=True)
class Started:
    """A running system, and where its evidence goes."""

    system: System
    config: Path
    api: str
    broker: str
    read: Callable[[str], bytes | None]
    """Returns what the store has under an address, without the code under test."""

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.api}/api/v1/{path}", timeout=60, follow_redirects=False)

    def incidents(self) -> list[dict[str, Any]]:
        """Return the incidents; none while the publisher is away."""
        answer = self.get("anomalies?limit=500")
        return list(answer.json()) if answer.status_code == 200 else []

    def incident(self, wanted: Callable[[dict[str, Any]], object], seen: Collection[str] = ()) -> dict[str, Any]:
        """Wait for an incident with evidence; not one of those that were seen."""

        def find() -> dict[str, Any] | None:
            fresh = [one for one in self.incidents() if one["anomaly_id"] not in seen]
            return next((one for one in fresh if one["image"] and wanted(one)), None)

        return wait_for(find, 120, "an incident with evidence")

    def evidence(self, anomaly_id: str, kind: str, query: str = "") -> httpx.Response:
        """Wait until a picture or a clip is there."""

        def there() -> httpx.Response | None:
            answer = self.get(f"anomalies/{anomaly_id}/{kind}{query}")
            assert answer.status_code in (200, 307, 404, 503), answer.text
            return answer if answer.status_code in (200, 307) else None

        return wait_for(there, 120, f"the {kind}")

    def sightline(self, *arguments: str) -> str:
        command = [str(SIGHTLINE), *arguments, "--config", str(self.config)]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@contextmanager
def to_a_folder(root: Path) -> Iterator[tuple[dict[str, str], Callable[[str], bytes | None]]]:
    def read(link: str) -> bytes | None:
        path = Path(link.removeprefix("file://"))
        return path.read_bytes() if path.is_file() else None

    yield {"SIGHTLINE_EVIDENCE_URL": f"file://{root / 'store'}"}, read


@contextmanager
def to_s3(_root: Path) -> Iterator[tuple[dict[str, str], Callable[[str], bytes | None]]]:
    with moto() as address:
        account = {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        yield {"SIGHTLINE_EVIDENCE_URL": "s3://evidence/north", **account}, Inspector(address).read


def with_short_clips(config: Path) -> Path:
    """Have a clip end soon, though one incident follows another."""
    serve_config = yaml.safe_load(config.read_text())
    settings = yaml.safe_load((ROOT / "configs" / "sightline.yaml").read_text())
    settings["evidence"]["max"] = 12
    (config.parent / "sightline.yaml").write_text(yaml.safe_dump(settings))
    for application in serve_config["applications"]:
        application["args"]["settings"] = str(config.parent / "sightline.yaml")
    config.write_text(yaml.safe_dump(serve_config))
    return config


@pytest.fixture(scope="module", params=[to_a_folder, to_s3], ids=["folder", "s3"])
def started(request: pytest.FixtureRequest) -> Iterator[Started]:
    folder = Path(tempfile.mkdtemp(prefix="sle", dir="/tmp"))  # Ray keeps sockets there: its path must be short
    grpc_port, http_port = free_ports(2)
    config = with_short_clips(on_ports(folder, grpc_port, http_port))
    (folder / "rules.yaml").write_text(RULES)
    ours = {"SIGHTLINE_CAMERAS": STREET, "SIGHTLINE_RULES": str(folder / "rules.yaml")}
    ours["SIGHTLINE_LATENCY_BUDGET_MS"] = "1000"  # what a busy machine can keep
    with request.param(folder) as (store, read):
        environment = {**apart(folder, grpc_port), **ours, **store}
        with running([str(BIN / "serve"), "run", str(config)], folder, **environment) as system:
            system.wait_for_line("events/s", 240)
            broker = system.broker()
            yield Started(system, config, f"http://127.0.0.1:{http_port}", broker, read)
    shutil.rmtree(folder, ignore_errors=True)


def assert_is_a_clip(film: bytes, *, at_least_s: float) -> None:
    with av.open(io.BytesIO(film)) as container:
        frames = list(container.decode(video=0))
    assert (frames[0].width, frames[0].height) == (640, 360)
    at = [float(frame.pts * frame.time_base) for frame in frames]
    assert at == sorted(set(at))
    assert at[-1] - at[0] >= at_least_s


def test_an_incident_on_the_topic_has_addresses_that_lead_to_its_picture_and_its_clip(started: Started):
    topic = TopicReader(started.broker, "events.anomalies")
    *_, record = topic.read(lambda found: bool(found) and bool(found[-1].value.get("image_url")), 120)
    topic.close()
    incident = record.value
    assert (incident["rule"], incident["state"]) == ("half-way", "instant")
    anomaly_id = incident["anomaly_id"]
    assert re.fullmatch(rf"(s3|file)://.*/street/\d{{4}}/\d\d/\d\d/{anomaly_id}\.jpg", incident["image_url"])
    # The clip is that of the incident, or of one before with which it overlaps.
    assert re.fullmatch(r"(s3|file)://.*/street/\d{4}/\d\d/\d\d/[0-9a-f-]{36}\.mp4", incident["clip_url"])

    topic = TopicReader(started.broker, "events.detections")
    *_, event = topic.read(lambda found: bool(found) and found[-1].value.get("event_id") == incident["event_id"], 60)
    topic.close()
    assert event.value["image_url"] == incident["image_url"]

    picture = started.evidence(anomaly_id, "image", "?redirect=false")
    assert picture.headers["content-type"] == "image/jpeg"
    decoded = cv2.imdecode(np.frombuffer(picture.content, np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == (360, 640, 3)
    film = started.evidence(anomaly_id, "clip", "?redirect=false")
    assert film.headers["content-type"] == "video/mp4"
    assert_is_a_clip(film.content, at_least_s=4.5)
    for link, data in ((incident["image_url"], picture.content), (incident["clip_url"], film.content)):
        assert wait_for(lambda link=link: started.read(link), 30, link) == data
    if incident["image_url"].startswith("s3://"):
        signed = wait_for(lambda: started.evidence(anomaly_id, "image").headers.get("location"), 30, "a signed address")
        assert httpx.get(signed).content == picture.content
        assert SECRET not in signed


def test_a_rule_that_asks_for_none_has_none(started: Started):
    def found() -> list[dict[str, Any]]:
        return [one for one in started.incidents() if one["rule"] == "a-third"]

    for one in wait_for(found, 60, "an incident without evidence"):
        assert one["image"] is one["clip"] is one["image_url"] is one["clip_url"] is None


def test_the_clip_that_a_killed_publisher_was_recording_is_made_and_stored_by_the_next_one(started: Started):
    cut_short = started.incident(lambda one: one["clip"]["state"] == "recording")
    (publisher,) = started.system.processes(PUBLISHER)
    os.kill(publisher, signal.SIGKILL)
    picture = started.evidence(cut_short["anomaly_id"], "image", "?redirect=false").content
    film = started.evidence(cut_short["anomaly_id"], "clip", "?redirect=false").content
    assert_is_a_clip(film, at_least_s=0)
    for link, data in ((cut_short["image_url"], picture), (cut_short["clip_url"], film)):
        assert wait_for(lambda link=link: started.read(link), 30, link) == data
    before = {one["anomaly_id"] for one in wait_for(started.incidents, 60, "the incidents")}
    again = started.incident(lambda one: one["image"]["state"] in ("spooled", "stored"), before)
    assert started.evidence(again["anomaly_id"], "image", "?redirect=false").content.startswith(b"\xff\xd8")


def test_the_commands_and_the_page_lead_to_what_is_kept(started: Started, tmp_path: Path):
    stored = started.incident(lambda one: one["image"]["state"] == one["clip"]["state"] == "stored")
    lines = started.sightline("anomalies", "--limit", "500").splitlines()
    (line,) = {line for line in lines if f"/{stored['anomaly_id']}/" in line}
    image, clip = re.findall(r"http://\S+", line)
    assert httpx.get(image, follow_redirects=True).content == started.read(stored["image_url"])
    assert httpx.get(clip, follow_redirects=True).content == started.read(stored["clip_url"])

    evidence = started.get("status").json()["evidence"]
    assert evidence["trouble"] == ""
    assert evidence["asked"] == sum(evidence[name] for name in ("stored", "spooled", "expired", "refused")) > 2
    assert re.search(r"^evidence +\d+ asked = \d+ stored \+ ", started.sightline("status"), re.MULTILINE)

    with browser(tmp_path) as page:
        page.size(1280, 900)
        page.open(started.api + "/")
        row = f"document.querySelector('#past li[data-anomaly=\"{stored['anomaly_id']}\"] button.evidence')"
        page.wait(f"{row} !== null")
        page.run(f"{row}.click()")
        page.wait("document.querySelector('#evidence img')?.naturalWidth === 640")
        page.wait("document.querySelector('#evidence video')?.readyState >= 3")
        page.run("(async () => { const v = document.querySelector('video'); v.playbackRate = 8; await v.play(); })()")
        page.wait("document.querySelector('#evidence video').ended")
        page.wait("document.getElementById('system').textContent.includes('pictures and clips')")
        assert page.faults == []
