"""Incidents and objects: in events and in topics of their own, whatever happens to publisher, rules and camera."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from app.analysis.rules.engine import LOST_AFTER_S
from app.analysis.rules.replay import Replay
from app.core.channel import CHANNELS, Channel
from app.errors import DeliveryRefused, DeliveryUnavailable, SpoolUnavailable
from app.publisher import IncidentQuery
from app.publisher.silences import FIRST_LOOK_S, NEXT_LOOK_S
from app.settings.rule_lists import parse_rules
from app.settings.tracking import TrackingSettings
from tests.support.mortal_publishers import mortal_publishers
from tests.support.paths import ROOT
from tests.support.publisher import Time, Topic
from tests.support.street import FPS, INTRUSION, LINE, START_S, Street, running_street
from tests.support.waiting import until

PASS = 14 * FPS
"""Frames until the car is gone."""
OF_THE_CAR = ["new", "update", "end"]
"""What is published of it, where there is a zone that it enters."""


def schema(name: str) -> jsonschema.Draft202012Validator:
    read = json.loads((ROOT / "proto" / f"{name}.schema.json").read_text())
    return jsonschema.Draft202012Validator(read, format_checker=jsonschema.FormatChecker())


def replayed(street: Street, *rules: Any, lost_after: float = LOST_AFTER_S) -> list[dict[str, Any]]:
    """Run rules over the events that the topic has."""
    lines = [record.value.decode() for record in street.it.topic.records]
    return list(Replay(parse_rules(list(map(dict, rules))), lost_after).apply(lines, "the topic"))


def told_by_events(street: Street) -> list[dict[str, Any]]:
    return [one for event in street.events for one in event["anomalies"] if one["state"] != "active"]


async def test_an_incident_is_in_the_events_from_its_beginning_to_its_end_and_in_a_topic_of_its_own(tmp_path: Path):
    async with running_street(tmp_path) as street:
        await street.set_rules(INTRUSION, LINE)
        for number in range(PASS):
            await street.show(number)
        await street.settled()
        assert street.transitions == [("count", "instant"), ("gate", "new"), ("gate", "end")]
        types = [event["anomaly_type"] for event in street.events]
        assert types.count("line_crossing") == 1
        began = types.index("intrusion")
        states = [one["state"] for event in street.events[began:] for one in event["anomalies"]]
        assert states == ["new", *["active"] * (len(states) - 2), "end"]
        assert types[began:].count("intrusion") == len(states) - 1
        crossed, new, end = street.bodies("anomalies")
        assert (crossed["direction"], crossed["ended_at"]) == ("left_to_right", crossed["started_at"])
        assert new["event_id"] == street.events[began]["event_id"]
        assert end["anomaly_id"] == new["anomaly_id"]
        assert new["ended_at"] is None
        assert end["ended_at"] > end["started_at"]


async def test_every_record_is_as_its_schema_says_and_has_the_headers_of_cloudevents(tmp_path: Path):
    async with running_street(tmp_path) as street:
        await street.set_rules(INTRUSION, LINE)
        for number in range(PASS):
            await street.show(number)
        await street.settled()
        for name, bodies in (
            ("detection_event", street.events),
            ("anomaly", street.bodies("anomalies")),
            ("object", street.bodies("objects")),
        ):
            assert bodies
            for body in bodies:
                schema(name).validate(body)
        for channel, kind in (("anomalies", "sightline.anomaly.v1"), ("objects", "sightline.object.v1")):
            records = street.topics[channel].records
            headers = [dict(record.headers) for record in records]
            assert {record.key for record in records} == {b"cam"}
            assert {one["ce_type"] for one in headers} == {kind.encode()}
            assert len({one["ce_id"] for one in headers}) == len(records)
            assert [one["ce_time"].decode() for one in headers] == [one["timestamp"] for one in street.bodies(channel)]


@pytest.mark.parametrize(("lost_after", "told"), [(1.5, ["new", "end", "new"]), (4, ["new"])])
async def test_an_object_that_is_hidden_goes_on_for_as_long_as_its_track_may_be_unseen(
    tmp_path: Path, lost_after: float, told: list[str]
):
    async with running_street(tmp_path, tracking=TrackingSettings(lost_after=lost_after)) as street:
        await street.set_rules(INTRUSION)
        for number in range(12 * FPS):
            await street.show(number, lambda seconds: () if 6 <= seconds < 9 else ((700.0, 200.0, 120.0, 60.0),))
        await street.settled()
        assert [state for _, state in street.transitions] == told
        assert [one["state"] for one in street.bodies("objects") if one["state"] != "update"] == told
        assert replayed(street, INTRUSION, lost_after=lost_after) == told_by_events(street)


async def test_a_topic_that_is_away_holds_back_itself_alone(tmp_path: Path):
    async with running_street(tmp_path) as street:
        street.topics["anomalies"].error = DeliveryUnavailable("the topic 'events.anomalies' does not exist")
        await street.set_rules(INTRUSION)
        for number in range(PASS):
            await street.show(number)
        await street.settled("objects")
        await street.it.until(lambda now: bool(now.channels["anomalies"].trouble))
        now = street.it.now
        assert (now.trouble, now.spooled, now.published) == ("", 0, PASS)
        held = now.channels["anomalies"]
        assert "does not exist" in held.trouble
        assert (held.accounts.waiting, held.accounts.balanced) == (2, True)
        assert now.channels["objects"].trouble == ""
        assert [one["state"] for one in street.bodies("objects")] == OF_THE_CAR
        street.topics["anomalies"].error = None
        await street.settled()
        assert street.transitions == [("gate", "new"), ("gate", "end")]
        assert street.it.now.channels["anomalies"].trouble == ""


async def test_records_are_in_no_number_of_the_ledger_of_frames(tmp_path: Path):
    async with running_street(tmp_path) as street:
        await street.set_rules(INTRUSION, LINE)
        for number in range(PASS):
            await street.show(number)
        await street.settled()
        now = street.it.now
        assert (now.accepted, now.published, now.spooled, now.quarantined, now.discarded) == (PASS, PASS, 0, 0, 0)
        assert now.spool_bytes == 0
        for channel, records in (("anomalies", 3), ("objects", len(OF_THE_CAR))):
            accounts = now.channels[channel].accounts
            assert (accounts.accepted, accounts.published, accounts.bytes) == (records, records, 0)


async def test_a_channel_that_is_turned_off_has_no_record_and_the_events_tell_all_the_same(tmp_path: Path):
    async with running_street(tmp_path, topics={"objects": Topic()}) as street:
        await street.set_rules(INTRUSION)
        for number in range(PASS):
            await street.show(number)
        await street.settled("objects")
        assert [one["state"] for one in told_by_events(street)] == ["new", "end"]
        assert "anomalies" not in street.it.now.channels


async def test_a_record_that_kafka_refuses_is_set_aside_and_can_be_sent_again(tmp_path: Path):
    from app.publisher import ask_quarantine, quarantined

    async with running_street(tmp_path) as street:
        street.topics["anomalies"].error = DeliveryRefused("too large")
        await street.set_rules(INTRUSION)
        for number in range(PASS):
            await street.show(number)
        await street.it.until(lambda now: now.channels["anomalies"].accounts.quarantined == 2)
        aside = quarantined(tmp_path)
        assert [(one.channel, one.camera_id, one.reason) for one in aside] == [("anomalies", "cam", "too large")] * 2
        assert street.it.now.quarantined == 0
        street.topics["anomalies"].error = None
        assert ask_quarantine(tmp_path, "resend", [aside[0].event_id]) == 1
        assert ask_quarantine(tmp_path, "drop", []) == 1
        await street.it.until(lambda now: now.channels["anomalies"].accounts.published == 1)
        accounts = street.it.now.channels["anomalies"].accounts
        assert (accounts.discarded, accounts.quarantined, accounts.balanced) == (1, 0, True)
        assert street.transitions == [("gate", "new")]


async def test_an_incident_has_one_new_and_one_end_over_ten_deaths_while_kafka_is_away(tmp_path: Path):
    topic, topics, time = Topic(), {channel: Topic() for channel in CHANNELS}, Time()
    away = DeliveryUnavailable("away")
    for one in (topic, *topics.values()):
        one.error = away
    for life in range(10):
        async with running_street(tmp_path, topic, topics, time=time) as street:
            if not life:
                await street.set_rules(INTRUSION, LINE)
            for number in range(life * PASS // 10, (life + 1) * PASS // 10):
                await street.show(number)
                if number % 3 == 0:
                    assert (await street.show(number)).repeated
    for one in (topic, *topics.values()):
        one.error = None
    async with running_street(tmp_path, topic, topics, time=time) as street:
        await street.settled()
        assert street.transitions == [("count", "instant"), ("gate", "new"), ("gate", "end")]
        assert [one["state"] for one in street.bodies("objects")] == OF_THE_CAR
        assert told_by_events(street) == replayed(street, INTRUSION, LINE)


async def test_an_incident_has_one_new_and_one_end_though_ten_publishers_are_killed(tmp_path: Path):
    async with running_street(tmp_path) as street:
        await street.set_rules(INTRUSION, LINE)
    with mortal_publishers(tmp_path) as mortals:
        number = 0
        for _ in range(10):
            number = await asyncio.to_thread(mortals.live_and_die, number, PASS // 10)  # the last one comes again
    assert number >= PASS // 2
    async with running_street(tmp_path) as street:
        for rest in range(number, PASS):
            await street.show(rest)
        await street.settled()
        assert street.transitions == [("count", "instant"), ("gate", "new"), ("gate", "end")]
        assert [one["state"] for one in street.bodies("objects")] == OF_THE_CAR
        assert told_by_events(street) == replayed(street, INTRUSION, LINE)
        now = street.it.now
        assert now.accepted == now.published == max(PASS, number + 1)


async def test_what_the_events_tell_is_what_the_rules_say_of_them_later(tmp_path: Path):
    async with running_street(tmp_path) as street:
        await street.set_rules(INTRUSION, LINE)
        for number in range(PASS):
            if number % 7 != 3:  # frames that were dropped
                await street.show(number)
        await street.settled()
        told = told_by_events(street)
        assert len(told) == 3
        assert told == replayed(street, INTRUSION, LINE)
        assert [{key: one[key] for key in told[0]} for one in street.bodies("anomalies")] == told


async def test_a_commit_that_fails_changes_nothing(tmp_path: Path):
    async with running_street(tmp_path) as street:
        await street.set_rules(INTRUSION)
        for number in range(PASS):
            if number % 10 == 9:
                database = street.it.writer._spool._database
                database.execute("PRAGMA query_only = ON")
                with pytest.raises(SpoolUnavailable):
                    await street.show(number)
                database.execute("PRAGMA query_only = OFF")
            await street.show(number)
        await street.settled()
        assert street.transitions == [("gate", "new"), ("gate", "end")]
        assert told_by_events(street) == replayed(street, INTRUSION)
        assert street.it.now.channels["anomalies"].accounts.accepted == 2


async def test_a_rule_that_is_changed_ends_its_incident_and_one_that_is_not_goes_on(tmp_path: Path):
    other = {**INTRUSION, "id": "other", "severity": "info"}
    async with running_street(tmp_path) as street:
        await street.set_rules(INTRUSION, other)
        for number in range(9 * FPS):
            await street.show(number)
        await street.set_rules({**INTRUSION, "severity": "warning"}, other)
        for number in range(9 * FPS, PASS):
            await street.show(number)
        await street.settled()
        reasons = [(one["rule"], one["state"], one["severity"], one["reason"]) for one in street.bodies("anomalies")]
        assert reasons == [
            ("gate", "new", "alarm", None),
            ("other", "new", "info", None),
            ("gate", "end", "alarm", "rule_changed"),
            ("gate", "new", "warning", None),
            ("gate", "end", "warning", "track_lost"),
            ("other", "end", "info", "track_lost"),
        ]


async def test_a_rule_that_is_removed_ends_its_incident_with_the_next_frame(tmp_path: Path):
    async with running_street(tmp_path) as street:
        await street.set_rules(INTRUSION)
        for number in range(9 * FPS):
            await street.show(number)
        await street.set_rules()
        assert street.it.observer.transitions[-1].state == "new"
        await street.show(9 * FPS)
        await street.settled()
        assert [one["reason"] for one in street.bodies("anomalies")] == [None, "rule_changed"]
        assert street.events[-1]["anomaly_type"] is None
        await street.show(9 * FPS + 1)
        await street.settled()
        assert street.events[-1]["anomalies"] == []


async def test_rules_of_a_publisher_that_died_are_in_force_with_the_first_frame_of_the_next(tmp_path: Path):
    async with running_street(tmp_path) as street:
        await street.set_rules(LINE)
    async with running_street(tmp_path) as reborn:
        for number in range(PASS):
            await reborn.show(number)
        await reborn.settled()
        assert reborn.transitions == [("count", "instant")]


async def test_a_camera_that_is_removed_ends_its_incidents_and_objects_at_once(tmp_path: Path):
    async with running_street(tmp_path) as street:
        await street.set_rules(INTRUSION)
        for number in range(9 * FPS):
            await street.show(number)
            await street.show(number, camera="other")
        await street.it.publisher.end_cameras(["cam", "unknown"])
        await street.it.publisher.end_cameras(["cam"])
        await street.settled()
        ends = [one for one in street.bodies("anomalies") if one["state"] == "end"]
        assert [(one["camera_id"], one["reason"], one["event_id"]) for one in ends] == [("cam", "camera_lost", None)]
        schema("anomaly").validate(ends[0])
        gone = [one for one in street.bodies("objects") if one["state"] == "end"]
        assert [(one["camera_id"], one["reason"]) for one in gone] == [("cam", "camera_lost")]
        active = await street.it.publisher.rules.incidents(IncidentQuery(active=True))
        assert [one["camera_id"] for one in active] == ["other"]


@pytest.mark.parametrize("dies", [False, True])
async def test_a_camera_that_falls_silent_ends_its_incidents_once_and_its_events_tell_the_same(
    tmp_path: Path, dies: bool
):
    topic, topics, time = Topic(), {channel: Topic() for channel in CHANNELS}, Time()
    async with running_street(tmp_path, topic, topics, time=time) as street:
        await street.set_rules(INTRUSION)
        for number in range(9 * FPS):
            await street.show(number)
        if not dies:
            time.seconds += FIRST_LOOK_S + NEXT_LOOK_S
            await until(lambda: len(street.bodies("anomalies")) == 2)
    if dies:
        async with running_street(tmp_path, topic, topics, time=time) as street:
            await street.it.writer.ready(10)
            time.seconds += FIRST_LOOK_S + NEXT_LOOK_S
            await until(lambda: len(street.bodies("anomalies")) == 2)
    async with running_street(tmp_path, topic, topics, time=time) as street:
        for number in range(100 * FPS, 100 * FPS + 10):
            await street.show(number, lambda _: ())
        await street.settled()
        assert [(one["state"], one["reason"]) for one in street.bodies("anomalies")] == [
            ("new", None),
            ("end", "camera_lost"),
        ]
        assert [one["state"] for one in street.bodies("objects")] == OF_THE_CAR
        assert street.bodies("objects")[-1]["reason"] == "camera_lost"
        assert told_by_events(street) == replayed(street, INTRUSION)


async def test_a_camera_that_was_removed_and_is_there_again_at_once_begins_anew(tmp_path: Path):
    async with running_street(tmp_path) as street:
        await street.set_rules(INTRUSION)
        for number in range(9 * FPS):
            await street.show(number)
        await street.it.publisher.end_cameras(["cam"])
        for number in range(9 * FPS, PASS):
            await street.show(number)
        await street.settled()
        states = [(one["anomaly_id"], one["state"]) for one in street.bodies("anomalies")]
        assert [state for _, state in states] == ["new", "end", "new", "end"]
        assert len({anomaly_id for anomaly_id, _ in states}) == 2


async def test_a_car_parked_for_ten_minutes_is_one_object_with_few_updates(tmp_path: Path):
    parked = ((700.0, 400.0, 160.0, 80.0),)
    async with running_street(tmp_path) as street:
        await street.set_rules({"id": "parked", "type": "stopped", "dwell": 60, "include_parked": True})
        for number in range(0, 600 * FPS, FPS):  # one frame a second
            await street.show(number, lambda _: parked)
        for number in range(600 * FPS, 603 * FPS):
            await street.show(number, lambda _: ())
        await street.settled()
        states = [one["state"] for one in street.bodies("objects")]
        assert (states[0], states[-1], set(states[1:-1])) == ("new", "end", {"update"})
        assert len(states) - 2 <= 20
        assert len({one["object_id"] for one in street.bodies("objects")}) == 1
        assert [state for _, state in street.transitions] == ["new", "end"]


async def test_incidents_and_counts_are_answered_from_what_was_committed(tmp_path: Path):
    hour_ms = 3_600_000
    async with running_street(tmp_path) as street:
        await street.set_rules(INTRUSION, LINE)
        for number in range(10 * FPS):
            await street.show(number)
        book = street.it.publisher.rules
        assert [one["rule"] for one in await book.incidents(IncidentQuery(active=True))] == ["gate"]
        assert [one["rule"] for one in await book.incidents(IncidentQuery())] == ["gate", "count"]
        (crossings,) = await book.counts("count", START_S * 1000, START_S * 1000 + hour_ms, hour_ms)
        assert (crossings.camera_id, crossings.direction, crossings.label, crossings.count) == (
            "cam",
            "left_to_right",
            "car",
            1,
        )
        await street.settled()
        found = await book.incidents(IncidentQuery(active=True))
        published = [one for one in street.bodies("anomalies") if one["rule"] == "gate"][-1:]
        assert found == [{**one, "image": None, "clip": None} for one in published]


async def test_records_of_a_camera_keep_their_order_while_their_topic_fails_again_and_again(tmp_path: Path):
    from tests.support.publisher import FickleTopic

    topics: dict[Channel, Topic] = {"anomalies": FickleTopic(3, 0.3), "objects": FickleTopic(4, 0.3)}
    several = [{**INTRUSION, "id": f"gate-{number}", "start_after": number / 4} for number in range(12)]
    async with running_street(tmp_path, topics=topics) as street:
        await street.set_rules(*several)
        for number in range(PASS):
            await street.show(number)
        await street.settled()
        times = [one["timestamp"] for one in street.bodies("anomalies")]
        first_seen = list(dict.fromkeys(times))
        assert all(before < after for before, after in pairwise(first_seen))
        once = {dict(record.headers)["ce_id"] for record in topics["anomalies"].records}
        assert len(once) == street.it.now.channels["anomalies"].accounts.published


async def test_incidents_whose_state_cannot_be_read_any_more_are_ended_by_the_next_frame(tmp_path: Path):
    async with running_street(tmp_path) as street:
        await street.set_rules(INTRUSION)
        for number in range(9 * FPS):
            await street.show(number)
        street.it.writer._spool._database.execute("UPDATE analysis SET digest = digest + 1 WHERE kind = 'rules'")
    async with running_street(tmp_path) as reborn:
        for number in range(9 * FPS, PASS):
            await reborn.show(number)
        await reborn.settled()
        states = [(one["state"], one["reason"]) for one in reborn.bodies("anomalies")]
        assert states == [("end", "camera_lost"), ("new", None), ("end", "track_lost")]
        for body in reborn.bodies("anomalies"):
            schema("anomaly").validate(body)
        assert await reborn.it.publisher.rules.incidents(IncidentQuery(active=True)) == []
