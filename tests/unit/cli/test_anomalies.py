"""``sightline anomalies``: what goes on and what has ended, from the real API over a stand-in of the publisher."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from app.cli.anomalies import describe, moment
from app.publisher import IncidentQuery
from tests.support.changing_system import Changing
from tests.support.command import call

STOPPED: dict[str, Any] = {
    "anomaly_id": "a-1", "camera_id": "gate", "rule": "no-parking", "type": "stopped", "severity": "warning",
    "state": "end", "started_at": "2026-01-10T12:00:00.000Z", "ended_at": "2026-01-10T12:00:25.000Z",
    "reason": "track_lost", "track_ids": [42], "classes": ["car"], "zone": "bus stop", "line": None, "direction": None,
    "value": 25.0,
}  # fmt: skip
CROSSED = {**STOPPED, "anomaly_id": "a-2", "type": "line_crossing", "state": "instant", "direction": "left_to_right"}


@pytest.fixture
def found(system: Changing) -> Changing:
    system.found.bodies = [CROSSED, STOPPED, {**STOPPED, "anomaly_id": "a-3", "state": "new", "ended_at": None}]
    return system


def test_incidents_are_listed_with_how_long_they_lasted(found: Changing, config: str):
    done = call("anomalies", "--config", config)
    assert done.returncode == 0
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if "gate" in line]
    assert [row[:6] for row in rows] == [
        ["01-10 12:00:00", "gate", "warning", "no-parking", "line_crossing", "left_to_right, car, track_lost"],
        ["01-10 12:00:00", "gate", "warning", "no-parking", "stopped", "car, track_lost"],
        ["01-10 12:00:00", "gate", "warning", "no-parking", "stopped", "car, track_lost"],
    ]
    assert [row[6] for row in rows[:2]] == ["", "25 s"]
    assert rows[2][6].endswith("s, goes on")
    assert "/api/v1/anomalies" not in done.stdout


def test_the_addresses_of_pictures_and_clips_are_below_or_why_one_is_not_there(system: Changing, config: str):
    here, lost = {"state": "stored", "reason": ""}, {"state": "expired", "reason": "evidence.max_bytes was reached"}
    recording = {"state": "recording", "reason": ""}
    system.found.bodies = [
        {**STOPPED, "image": here, "clip": recording},
        {**STOPPED, "anomaly_id": "a-2", "image": None, "clip": lost},
        {**STOPPED, "anomaly_id": "a-3", "image": None, "clip": None},
    ]
    done = call("anomalies", "--config", config)
    below = [line for line in done.stdout.splitlines() if line.startswith("01-10")]
    address = re.escape("http://127.0.0.1:") + r"\d+/api/v1/anomalies/a-1"
    assert len(below) == 2
    begin = "01-10 12:00:00  gate  no-parking  "
    assert re.fullmatch(rf"{begin}{address}/image  {address}/clip \(is being recorded\)", below[0])
    assert below[1] == f"{begin}no clip: evidence.max_bytes was reached"


def test_what_a_program_reads_is_one_document_a_line_and_the_question_is_passed_on(found: Changing, config: str):
    asked = ("--active", "--camera", "gate", "--since", "2026-01-10T12:00:00Z", "--limit", "5")
    done = call("anomalies", *asked, "--json", "--config", config)
    assert [json.loads(line)["anomaly_id"] for line in done.stdout.splitlines()] == ["a-2", "a-1", "a-3"]
    since_ms = int(datetime(2026, 1, 10, 12, tzinfo=UTC).timestamp() * 1000)
    assert found.found.asked == [IncidentQuery(camera_id="gate", active=True, since_ms=since_ms, limit=5)]


@pytest.mark.parametrize(
    ("options", "reported"),
    [
        (("--since", "soon"), "--since: 'soon'; allowed are"),
        (("--follow", "--active"), "--follow: it lists what begins and ends from now on"),
    ],
)
def test_a_mistake_is_one_line(config: str, options: tuple[str, ...], reported: str):
    done = call("anomalies", *options, "--config", config)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"sightline: {reported}")


def test_without_a_topic_there_is_nothing_to_follow():
    done = call("anomalies", "--follow", KAFKA_ANOMALIES_TOPIC="null", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "there is no topic to follow" in done.stderr


def test_a_record_is_a_line_for_a_person():
    assert describe(json.dumps(STOPPED)) == (
        "12:00:25.000  gate             warning end     no-parking (stopped)  car  track_lost  since 12:00:00"
    )
    assert describe(
        json.dumps({**STOPPED, "image_url": "s3://evidence/a-1.jpg", "clip_url": None, "evidence": "lost"})
    ) == (
        "12:00:25.000  gate             warning end     no-parking (stopped)  car  track_lost  since 12:00:00  "
        "s3://evidence/a-1.jpg  evidence lost"
    )
    assert describe("{}") == "(not an incident of Sightline's)"


def test_a_moment_is_a_time_or_so_long_ago():
    now = datetime(2026, 1, 10, 12, tzinfo=UTC)
    assert moment("90m", "--since", now) == datetime(2026, 1, 10, 10, 30, tzinfo=UTC)
    assert moment("2026-01-09T08:00:00", "--since", now) == datetime(2026, 1, 9, 8, tzinfo=UTC)
    assert moment("2026-01-09T08:00:00+02:00", "--since", now) == datetime(2026, 1, 9, 6, tzinfo=UTC)
