"""Evidence of incidents: addresses in events and records, and bytes behind them, whatever dies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from app.core.event import DetectedObject, DetectionEvent, StageLatencies
from app.evidence.item import Kind
from app.publisher import IncidentQuery, Receipt, Shard, Submission
from app.publisher.analysis import FrameAnalysis
from app.publisher.evidence import make_evidence
from app.publisher.evidence_desk import EvidenceDesk
from app.settings.evidence import EvidenceSettings
from app.settings.tracking import TrackingSettings
from tests.support.evidence import grey_jpeg
from tests.support.publisher import PublisherFixture, Time, Topic, running_publisher
from tests.support.waiting import until

START_S = 1_767_000_000
RULE: Mapping[str, Any] = {
    "id": "cars",
    "type": "class_count",
    "zone": [[0, 0], [1, 0], [1, 1], [0, 1]],
    "counts": {"car": ">=1"},
    "start_after": 0.4,
    "end_after": 0.4,
    "evidence": ["snapshot", "clip"],
}


def frame(number: int, cars: int, camera: str = "gate") -> DetectionEvent:
    return DetectionEvent(
        camera_id=camera,
        frame_id=str(number),
        captured_at_ns=START_S * 10**9 + number * 200_000_000,
        width=32,
        height=24,
        model="m.pt",
        objects=tuple(DetectedObject("car", 2, 0.9, (2.0 + 10 * one, 2.0, 8.0, 6.0)) for one in range(cars)),
        latency=StageLatencies(1, 1, 1, 1, 1),
    )


def picture(number: int) -> bytes:
    return grey_jpeg(50 + number)


class Camera:
    """Hands its pictures over where a receipt asks for them, as the ingress does."""

    def __init__(self, it: PublisherFixture, name: str = "gate") -> None:
        self._it, self.name, self.pictured, self.handed_over = it, name, False, 0

    async def send(self, number: int, cars: int = 1) -> Receipt:
        handed = picture(number) if self.pictured else None
        self.handed_over += handed is not None
        submission = Submission(frame(number, cars, self.name), 1, number + 1, picture=handed)
        receipt = await self._it.publisher.publish(submission)
        self.pictured = receipt.pictured
        return receipt


@asynccontextmanager
async def publisher(folder: Path, rules: list[Mapping[str, Any]] | None = None, store: bool = True, **how: Any):
    time = Time()
    time.seconds = START_S
    settings = EvidenceSettings(url=f"file://{folder / 'store'}" if store else None, **how)
    parts = make_evidence(settings, (), folder / "spool", Shard())
    analysis = FrameAnalysis(TrackingSettings(), ("anomalies",), parts.incidents)
    anomalies = Topic()
    async with running_publisher(
        folder / "spool",
        analysis=analysis,
        evidence=parts.incidents,
        time=time,
        channels={"anomalies": anomalies},
    ) as it:
        desk = EvidenceDesk(it.writer, parts)
        desk.start()
        await it.publisher.rules.set_rules(json.dumps([RULE] if rules is None else rules))
        try:
            yield it, desk, anomalies
        finally:
            await desk.close()


def events(it: PublisherFixture) -> list[dict[str, Any]]:
    return [json.loads(record.value) for record in it.topic.records]


async def test_an_incident_s_event_and_record_bear_the_address_of_the_picture_that_was_judged(tmp_path: Path):
    async with publisher(tmp_path) as (it, desk, anomalies):
        gate = Camera(it)
        for number in range(5):
            await gate.send(number)
        await it.until(lambda now: now.published == 5)
        await until(lambda: len(anomalies.records) == 1)
        record = json.loads(anomalies.records[0].value)
        path = Path(record["image_url"].removeprefix("file://"))
        assert path == tmp_path / "store" / "gate" / "2025/12/29" / f"{record['anomaly_id']}.jpg"
        begun = [one for one in events(it) if one["image_url"]]
        assert [one["image_url"] for one in begun] == [record["image_url"]]
        await until(path.is_file)
        judged = picture(int(begun[0]["frame_id"]))
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(judged).digest()
        answer = await desk.find(record["anomaly_id"], Kind.SNAPSHOT)
        assert answer is not None
        assert answer.data == judged


async def test_the_clip_of_an_incident_is_where_its_record_says(tmp_path: Path):
    async with publisher(tmp_path, before=0.4, after=0.4) as (it, desk, anomalies):
        gate = Camera(it)
        for number in range(9):
            await gate.send(number)
        await until(lambda: len(anomalies.records) == 1)
        record = json.loads(anomalies.records[0].value)
        clip = Path(record["clip_url"].removeprefix("file://"))
        await until(clip.is_file)
        assert b"ftyp" in clip.read_bytes()[:32]
        accounts = await desk.accounts()
        await until(lambda: not any((tmp_path / "spool" / "evidence").iterdir()))
        assert accounts.balanced


async def test_without_a_rule_that_asks_for_evidence_no_picture_is_asked_for(tmp_path: Path):
    plain = {name: value for name, value in RULE.items() if name != "evidence"}
    async with publisher(tmp_path, [plain, {**RULE, "id": "elsewhere", "cameras": ["yard"]}]) as (it, _, anomalies):
        gate, yard = Camera(it), Camera(it, "yard")
        for number in range(5):
            await gate.send(number)
            await yard.send(number)
        assert (gate.handed_over, yard.handed_over) == (0, 4)
        plainly = await it.publisher.rules.incidents(IncidentQuery(camera_id="gate"))
        assert [(one["image"], one["clip"]) for one in plainly] == [(None, None)]
        await until(lambda: len(anomalies.records) == 3)
        urls = {(one["camera_id"], bool(one["image_url"])) for one in map(_body, anomalies.records)}
        assert urls == {("gate", False), ("yard", True)} or urls == {("gate", False), ("yard", True), ("yard", False)}


async def test_rules_that_ask_no_more_are_handed_no_more_pictures(tmp_path: Path):
    async with publisher(tmp_path) as (it, _, _anomalies):
        gate = Camera(it)
        await gate.send(0)
        assert gate.pictured
        await it.publisher.rules.set_rules("[]")
        await gate.send(1)
        assert not gate.pictured


async def test_without_a_store_incidents_have_no_address_and_their_evidence_is_handed_out(tmp_path: Path):
    async with publisher(tmp_path, store=False) as (it, desk, anomalies):
        gate = Camera(it)
        for number in range(5):
            await gate.send(number)
        await until(lambda: len(anomalies.records) == 1)
        record = json.loads(anomalies.records[0].value)
        assert record["image_url"] is record["clip_url"] is None
        answer = await desk.find(record["anomaly_id"], Kind.SNAPSHOT)
        assert answer is not None
        assert answer.data is not None
        assert (await desk.find(record["anomaly_id"], Kind.CLIP)).reason == "the clip is still being recorded"
        assert await desk.find("none", Kind.CLIP) is None


async def test_lost_evidence_is_told_with_the_incident_s_next_record(tmp_path: Path):
    async with publisher(tmp_path) as (it, desk, anomalies):
        gate = Camera(it)
        for number in range(4):
            gate.pictured = False  # the frames come without their pictures
            await gate.send(number)
        for number in range(4, 9):
            await gate.send(number, cars=0)
        await until(lambda: len(anomalies.records) == 2)
        begun, ended = map(_body, anomalies.records)
        assert (begun["state"], begun["image_url"], begun["clip_url"], begun["evidence"]) == ("new", None, None, "lost")
        assert (ended["state"], ended["evidence"]) == ("end", "lost")
        answer = await desk.find(begun["anomaly_id"], Kind.SNAPSHOT)
        assert answer is not None
        assert answer.reason == "the frame came without its picture"
        (found,) = await it.publisher.rules.incidents(IncidentQuery(anomaly_id=begun["anomaly_id"]))
        assert found["image"] == found["clip"] == {"state": "refused", "reason": answer.reason}
        await until(lambda: desk.snapshot.accounts.evidence == 2)
        assert desk.snapshot.accounts.lost == {"no_picture": 2}


async def test_what_waits_for_the_store_is_stored_by_the_next_publisher(tmp_path: Path):
    (tmp_path / "store").write_text("a file, so that no folder can be made")
    async with publisher(tmp_path, before=0.4, after=0.4) as (it, desk, anomalies):
        gate = Camera(it)
        for number in range(9):
            await gate.send(number)
        await until(lambda: len(anomalies.records) == 1)
        record = _body(anomalies.records[0])
        await until(lambda: bool(desk.trouble))
        assert desk.trouble.startswith("pictures and clips of incidents are not stored: ")
        found = (await it.publisher.rules.incidents(IncidentQuery()))[0]
        assert found["image_url"] == record["image_url"]
        assert found["image"] == {"state": "spooled", "reason": ""}
    (tmp_path / "store").unlink()
    async with publisher(tmp_path) as (_it, desk, _anomalies):
        for url in (record["image_url"], record["clip_url"]):
            await until(Path(url.removeprefix("file://")).is_file)
        assert desk.trouble == ""


def _body(record: Any) -> dict[str, Any]:
    return dict(json.loads(record.value))
