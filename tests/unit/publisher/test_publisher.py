"""The publisher: committed once each, in each camera's order, delivered through outages, every event accounted for."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path

import pytest

from app.errors import DeliveryRefused, DeliveryUnavailable, EpochSuperseded, FrameRepeated, OrderError, SpoolFull
from app.publisher import Submission, ask_quarantine, quarantined, read_accounts
from app.publisher.drain import CAMERA_IDLE_S, MAX_SENT, READ_AHEAD, WINDOW
from app.publisher.spool.spool import REPEAT_WINDOW_S
from tests.support.publisher import Time, Topic, event, running_publisher
from tests.support.waiting import until


async def test_an_event_is_published_once_and_accounted_for(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        receipt = await it.publish("a", 1, 1)
        assert receipt.event_id == event("a").event_id
        now = await it.until(lambda now: now.published == 1)
        assert (now.accepted, now.spooled, now.in_flight) == (1, 0, 0)
        assert now.by_camera == {"cam": 1}
        assert now.latency is not None
        assert now.latency.p50 == pytest.approx(50)
    assert len(it.topic.records) == 1


async def test_an_event_is_accepted_while_kafka_is_away_and_arrives_marked_as_replayed(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        it.topic.error = DeliveryUnavailable("away")
        await it.publish("a", 1, 1)
        await it.publish("b", 1, 2)
        assert (await it.until(lambda now: bool(now.trouble))).spooled == 2
        it.time.seconds += 1
        it.topic.error = None
        assert (await it.until(lambda now: now.published == 2)).trouble == ""
        it.time.seconds += 1
        await it.publish("c", 1, 3)
        await it.until(lambda now: now.published == 3)
        assert it.topic.frames == ["a", "b", "c"]
        assert [json.loads(record.value)["replayed"] for record in it.topic.records] == [True, True, False]


async def test_what_waits_is_sent_by_the_next_publisher_in_order_and_marked_as_replayed(tmp_path: Path):
    async with running_publisher(tmp_path) as dead:
        dead.topic.error = DeliveryUnavailable("away")
        for number in range(1, 6):
            await dead.publish(f"{number}", 1, number)
    async with running_publisher(tmp_path) as reborn:
        await reborn.publish("6", 1, 6)
        await reborn.until(lambda now: now.published == 6)
        assert reborn.topic.frames == ["1", "2", "3", "4", "5", "6"]
        assert [json.loads(record.value)["replayed"] for record in reborn.topic.records] == [True] * 5 + [False]


async def test_order_and_ids_outlive_the_publisher(tmp_path: Path):
    async with running_publisher(tmp_path) as dead:
        await dead.publish("a", 3, 7)
        await dead.until(lambda now: now.published == 1)
    async with running_publisher(tmp_path) as reborn:
        assert (await reborn.publish("a", 3, 7)).repeated
        with pytest.raises(FrameRepeated):
            await reborn.publish("late", 3, 6)
        with pytest.raises(EpochSuperseded, match="a camera with this id was started since"):
            await reborn.publish("old", 2, 9)
        assert reborn.now.out_of_order == 2
        assert reborn.topic.records == []


async def test_a_repeated_frame_is_answered_and_not_published_again(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        await it.publish("a", 1, 1)
        assert (await it.publish("a", 1, 1)).repeated
        await it.until(lambda now: now.published == 1)
        assert len(it.topic.records) == 1


async def test_a_repeat_while_the_first_is_under_way_shares_its_fate(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        first, second = await asyncio.gather(it.publish("a", 1, 1), it.publish("a", 1, 1))
        assert first == second
        await it.until(lambda now: now.published == 1)
        assert len(it.topic.records) == 1


async def test_an_id_is_forgotten_ten_minutes_after_its_acknowledgement(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        await it.publish("a")
        await it.until(lambda now: now.published == 1)
        it.time.seconds += REPEAT_WINDOW_S + 1
        await it.writer.tidy(it.time.wall_ns())
        assert not (await it.publish("a")).repeated
        await it.until(lambda now: now.published == 2)


async def test_a_sequence_at_or_below_a_committed_one_is_refused(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        await it.publish("a", 1, 5)
        for late in (4, 5):
            with pytest.raises(FrameRepeated):
                await it.publish(f"late-{late}", 1, late)
        assert it.now.out_of_order == 2


async def test_a_frame_of_an_older_epoch_is_refused_and_a_newer_epoch_starts_anew(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        await it.publish("a", 7, 5)
        await it.publish("b", 8, 1)
        with pytest.raises(EpochSuperseded):
            await it.publish("c", 7, 6)


async def test_no_order_is_asked_of_a_client_that_gives_none(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        await it.publish("a", 1, 5)
        await it.publish("b")
        await it.until(lambda now: now.published == 2)


async def test_one_camera_s_order_is_nothing_to_another_and_neither_is_its_stuck_event(tmp_path: Path):
    class Stuck(Topic):
        async def send(self, record):
            if record.key == b"stuck":
                raise DeliveryUnavailable("only this one")
            return await super().send(record)

    async with running_publisher(tmp_path, Stuck()) as it:
        await it.publish("a", 9, 9, camera="stuck")
        await it.publish("a", 1, 1, camera="other")
        assert (await it.until(lambda now: now.published == 1)).by_camera == {"other": 1}


async def test_an_earlier_frame_cannot_overtake_a_later_one_that_is_under_way(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        await it.publish("first", 1, 0)
        later = asyncio.create_task(it.publish("later", 1, 2))
        await until(lambda: it.now.in_flight == 1)
        with pytest.raises(FrameRepeated):
            await it.publish("earlier", 1, 1)
        await later


async def test_a_full_spool_refuses_events_gives_their_turn_back_and_takes_them_when_there_is_room(tmp_path: Path):
    async with running_publisher(tmp_path, max_bytes=5_000) as it:
        it.topic.error = DeliveryUnavailable("away")
        number = 1
        while it.now.spool_bytes < 4_200:
            await it.publish(str(number), 1, number)
            number += 1
        with pytest.raises(SpoolFull, match=r"spool\.max_bytes"):
            await it.publish(str(number), 1, number)
        assert it.now.failed == 1
        it.topic.error = None
        await it.until(lambda now: now.spooled == 0)
        assert not (await it.publish(str(number), 1, number)).repeated
        await it.until(lambda now: now.published == number)
        assert it.topic.frames == [str(each) for each in range(1, number + 1)]


async def test_the_waiting_events_of_a_camera_are_handed_over_without_waiting_for_each_acknowledgement(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        it.topic.gate.clear()
        for number in range(1, 31):
            await it.publish(str(number), 1, number)
        await until(lambda: it.topic.tries == 30)
        it.topic.gate.set()
        await it.until(lambda now: now.published == 30)
        assert it.topic.frames == [str(number) for number in range(1, 31)]


async def test_after_an_error_events_of_a_camera_go_one_at_a_time_until_one_is_acknowledged(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        it.topic.error = DeliveryUnavailable("away")
        for number in range(1, 31):
            await it.publish(str(number), 1, number)
        await it.until(lambda now: bool(now.trouble))
        it.topic.gate.clear()
        it.topic.error = None
        before = it.topic.tries
        await until(lambda: it.topic.tries > before)
        assert it.topic.tries == before + 1
        it.topic.gate.set()
        await it.until(lambda now: now.published == 30)
        assert it.topic.frames == [str(number) for number in range(1, 31)]


async def test_no_camera_and_not_all_together_have_more_events_handed_over_than_the_window(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        it.topic.gate.clear()
        for camera in range(MAX_SENT // WINDOW + 1):
            await asyncio.gather(*(it.publish(str(n), camera=str(camera)) for n in range(WINDOW + 20)))
            expected = min(MAX_SENT, (camera + 1) * WINDOW)
            await until(lambda expected=expected: it.topic.tries == expected)
        it.topic.gate.set()
        await it.until(lambda now: now.spooled == 0)
        assert it.topic.tries == (MAX_SENT // WINDOW + 1) * (WINDOW + 20)


async def test_an_event_that_kafka_refuses_is_set_aside_and_can_be_sent_again(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        it.topic.error = DeliveryRefused("too large")
        await it.publish("a", 1, 1)
        await it.until(lambda now: now.quarantined == 1)
        it.topic.error = None
        await it.publish("b", 1, 2)
        now = await it.until(lambda now: now.published == 1)
        assert now.accepted == now.published + now.spooled + now.quarantined + now.discarded == 2
        (aside,) = quarantined(tmp_path)
        assert (aside.camera_id, aside.reason) == ("cam", "too large")
        assert ask_quarantine(tmp_path, "resend", [aside.event_id]) == 1
        assert (await it.until(lambda now: now.published == 2)).quarantined == 0
        assert it.topic.frames == ["b", "a"]


async def test_a_refusal_ends_the_trouble_that_kafka_is_away_and_is_reported_itself_until_seen_to(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        it.topic.error = DeliveryUnavailable("no broker answers")
        await it.publish("a", 1, 1)
        await it.until(lambda now: now.trouble == "no broker answers")
        it.topic.error = DeliveryRefused("too old")
        now = await it.until(lambda now: now.quarantined == 1)
        assert (now.trouble, now.refusal) == ("", "too old")
        assert now.quarantine_trouble.startswith("1 event is in quarantine: too old")
    async with running_publisher(tmp_path) as it:  # another publisher tells it, too
        assert (await it.until(lambda now: now.quarantined == 1)).refusal == "too old"
        assert read_accounts(tmp_path).refusal == "too old"
        assert ask_quarantine(tmp_path, "drop", []) == 1
        now = await it.until(lambda now: now.quarantined == 0)
        assert (now.refusal, now.quarantine_trouble) == ("", "")


async def test_an_event_that_is_refused_before_kafka_saw_it_does_not_end_the_trouble(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        it.topic.error = DeliveryUnavailable("no broker answers")
        await it.publish("a", 1, 1, camera="one")
        await it.until(lambda now: now.trouble == "no broker answers")
        await it.publish("bad", 1, 1, camera="two", box=(float("nan"), 0.0, 1.0, 1.0))
        assert (await it.until(lambda now: now.quarantined == 1)).trouble == "no broker answers"


async def test_a_quarantined_event_can_be_dropped_and_stays_accounted_for(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        it.topic.error = DeliveryRefused("too large")
        await it.publish("a", 1, 1)
        await it.until(lambda now: now.quarantined == 1)
        assert ask_quarantine(tmp_path, "drop", []) == 1
        assert (await it.until(lambda now: now.quarantined == 0)).discarded == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
async def test_an_event_that_json_cannot_hold_is_set_aside_and_its_camera_goes_on(tmp_path: Path, bad: float):
    async with running_publisher(tmp_path) as it:
        await it.publish("bad", 1, 1, box=(bad, 0.0, 1.0, 1.0))
        await it.publish("good", 1, 2)
        now = await it.until(lambda now: now.published == 1)
        assert (now.quarantined, it.topic.frames) == (1, ["good"])


async def test_an_event_is_carried_through_when_its_caller_goes_away(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        await it.publish("first")
        caller = asyncio.create_task(it.publish("a", 1, 1))
        await until(lambda: it.now.in_flight == 1)
        caller.cancel()
        await asyncio.wait([caller])
        await it.until(lambda now: now.published == 2)


async def test_with_kafka_off_events_are_accepted_and_discarded(tmp_path: Path):
    async with running_publisher(tmp_path, off=True) as it:
        await it.publish("a", 1, 1)
        assert (await it.publish("a", 1, 1)).repeated
        assert (it.now.accepted, it.now.published, it.now.discarded) == (1, 0, 1)


async def test_empty_frames_are_published_unless_that_is_turned_off(tmp_path: Path):
    async with (
        running_publisher(tmp_path / "one") as it,
        running_publisher(tmp_path / "two", publish_empty=False) as quiet,
    ):
        await it.publish("a", empty=True)
        await quiet.publish("a", empty=True)
        await quiet.publish("b")
        assert (await it.until(lambda now: now.published == 1)).discarded == 0
        assert (await quiet.until(lambda now: now.published == 1)).discarded == 1


async def test_an_event_acknowledged_later_than_the_budget_is_a_breach(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        await it.publish("quick", age_s=0.1)
        await it.until(lambda now: now.published == 1)
        await it.publish("slow", age_s=0.3)
        assert (await it.until(lambda now: now.published == 2)).breaches == 1
        assert it.observer.breaches == [False, True]


async def test_the_budget_of_a_breach_is_the_frame_s_own_where_it_came_with_one_whatever_the_camera_s_clock_says(
    tmp_path: Path,
):
    async with running_publisher(tmp_path) as it:
        await it.publish("slow, and in time", age_s=0.3, due_s=5)
        await it.until(lambda now: now.published == 1)
        await it.publish("captured in the future, and late", age_s=-20, due_s=-0.001)
        await it.until(lambda now: now.published == 2)
        assert it.observer.breaches == [False, True]


async def test_the_budget_of_a_frame_is_kept_in_the_spool_with_its_event(tmp_path: Path):
    away, topic, time = Topic(), Topic(), Time()
    away.error = DeliveryUnavailable("away")
    async with running_publisher(tmp_path, away, time=time) as it:
        await it.publish("patient", 1, 1, due_s=60)
        await it.publish("hasty", 1, 2, due_s=0.1)
    time.seconds += 30
    async with running_publisher(tmp_path, topic, time=time) as it:
        await it.until(lambda now: now.published == 2)
        assert topic.frames == ["patient", "hasty"]
        assert it.observer.breaches == [False, True]


async def test_in_a_long_outage_memory_holds_a_part_and_the_disk_the_rest_and_all_arrives_in_order(tmp_path: Path):
    cameras, each, held = 6, READ_AHEAD + 60, 200
    async with running_publisher(tmp_path, max_held=held) as it:
        it.topic.error = DeliveryUnavailable("away")
        for sequence in range(1, each + 1):
            submissions = [Submission(event(f"{sequence}", f"cam-{n}"), 1, sequence) for n in range(cameras)]
            await asyncio.gather(*(it.publisher.publish(submission) for submission in submissions))
        assert it.now.spooled == cameras * each > 5 * held
        assert it.publisher._drain.held <= held
        it.topic.error = None
        await it.until(lambda now: now.published == cameras * each)
        by_camera: dict[bytes, list[int]] = {}
        for record, frame in zip(it.topic.records, it.topic.frames, strict=True):
            by_camera.setdefault(record.key, []).append(int(frame))
        assert all(frames == list(range(1, each + 1)) for frames in by_camera.values())


async def test_a_camera_that_was_idle_for_long_is_forgotten_and_others_are_not(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        await it.publish("a", 5, 5, camera="idle")
        await it.until(lambda now: now.published == 1)
        it.time.seconds += CAMERA_IDLE_S - 1
        await it.publish("a", 5, 5, camera="busy")
        await it.until(lambda now: now.published == 2)
        it.time.seconds += 2
        await it.publish("b", 6, 1, camera="idle")
        with pytest.raises(OrderError):
            await it.publish("b", 1, 1, camera="busy")
        assert (await it.until(lambda now: now.published == 3)).by_camera == {"idle": 1, "busy": 1}


async def test_the_order_of_a_camera_that_was_forgotten_does_not_come_back_with_the_next_publisher(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        await it.publish("a", 9, 5)
        it.time.seconds += CAMERA_IDLE_S + 1
        await it.publish("x", 1, 1, camera="other")
        await it.publish("b", 3, 1)
    async with running_publisher(tmp_path) as it:
        await it.publish("c", 3, 2)
        with pytest.raises(EpochSuperseded) as refusal:
            await it.publish("d", 2, 9)
        assert refusal.value.committed == 3


async def test_after_a_clock_that_was_ahead_is_corrected_new_events_are_not_marked_as_replayed(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        it.time.ahead_s = 8 * 3600.0
        it.topic.error = DeliveryUnavailable("away")
        await it.publish("a", 1, 1)
        await it.until(lambda now: bool(now.trouble))
        it.topic.error = None
        await it.until(lambda now: now.published == 1)
        it.time.ahead_s = 0.0
        await it.publish("b", 1, 2)
        await it.until(lambda now: now.published == 2)
        assert [json.loads(record.value)["replayed"] for record in it.topic.records] == [True, False]
        assert it.now.latency is not None, "and count for the quantiles"


async def test_an_observer_that_fails_does_not_fail_the_event(tmp_path: Path):
    class Broken:
        def published(self, *_: object) -> None:
            raise RuntimeError("no metrics today")

        def spool(self, *_: object) -> None:
            raise RuntimeError("nor gauges")

    async with running_publisher(tmp_path, observer=Broken()) as it:
        await it.publish("a")
        await it.until(lambda now: now.published == 1)


async def test_quantiles_are_those_of_capture_to_acknowledgement(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        assert it.now.latency is None
        for number, age_ms in zip(itertools.count(), range(1, 101), strict=False):
            await it.publish(str(number), age_s=age_ms / 1000)
            await until(lambda done=number + 1: len(it.observer.breaches) == done)
        latency = it.now.latency
        assert latency is not None
        assert (latency.count, round(latency.p50), round(latency.p95), round(latency.p99)) == (100, 51, 95, 99)


async def test_quantiles_of_the_last_seconds_leave_out_what_was_acknowledged_before(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        await it.publish("a slow start", age_s=5.0)
        await it.until(lambda now: now.published == 1)
        it.time.seconds += 10
        await it.publish("as usual", age_s=-9.98)  # by the clock as it was before
        await it.until(lambda now: now.published == 2)
        it.time.seconds += 10
        whole, lately = it.now.latency, it.publisher.snapshot(seconds=15).latency
        assert whole is not None
        assert lately is not None
        assert (whole.count, round(whole.p99)) == (2, 5000)
        assert (lately.count, round(lately.p99)) == (1, 20)
        assert it.publisher.reading(seconds=5).latencies_ms == ()


async def test_many_events_share_one_transaction(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        await it.publish("first")
        before = it.writer.groups
        await asyncio.gather(*(it.publish(str(number)) for number in range(400)))
        assert it.writer.groups - before <= 3
        assert read_accounts(tmp_path).accepted == 401


async def test_events_that_come_together_are_one_transaction_and_each_has_its_answer(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        await it.publish("a", 1, 5)
        before = it.writer.groups
        outcomes = await it.publisher.publish_group(
            [
                Submission(event("a"), 1, 5),  # committed before
                Submission(event("b"), 1, 6),
                Submission(event("late"), 1, 4),
                Submission(event("c"), 1, 7),
                Submission(event("c"), 1, 7),  # twice in one call
                Submission(event("d", "other")),
            ]
        )
        assert it.writer.groups == before + 1
        repeated, b, late, c, again, d = outcomes
        assert isinstance(late, FrameRepeated)
        assert [one.repeated for one in (repeated, b, c, d)] == [True, False, False, False]
        assert again is c
        await it.until(lambda now: now.published == 4)
        assert [frame for frame in it.topic.frames if frame != "d"] == ["a", "b", "c"]


async def test_a_group_is_carried_through_though_nobody_waits_for_it(tmp_path: Path):
    async with running_publisher(tmp_path) as it:
        await it.publish("a", 1, 1)
        caller = asyncio.create_task(it.publisher.publish_group([Submission(event("b"), 1, 2), Submission(event("c"))]))
        await until(lambda: it.now.in_flight == 2)
        caller.cancel()
        await it.until(lambda now: now.published == 3 and not now.in_flight)
