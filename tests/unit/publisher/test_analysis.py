"""Ids of tracks: in events, in receipts, and in what waits, whatever happens to the publisher."""

from __future__ import annotations

import json
import logging
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from app.core.event import DetectedObject, DetectionEvent, StageLatencies, WeakDetection
from app.errors import DeliveryUnavailable, FrameRepeated
from app.publisher import Receipt, Shard, Spool, SpoolOptions, Submission, open_shard, shard_of
from app.publisher.analysis import TRACKS, FrameAnalysis
from app.publisher.spool.analysis import JudgedFrame
from app.publisher.spool.codec import digest
from app.publisher.spool.rows import Arrival
from app.settings.tracking import TrackingSettings
from tests.support.publisher import PublisherFixture, Time, Topic, running_publisher

START_S = 1_700_000_000
FIRST_ID = START_S * 100
Box = tuple[float, float, float, float]


def car(seconds: float, y: float = 200.0) -> Box:
    """Return the box of a car at a time: 100 pixels a second to the right."""
    return 100 + 100 * seconds, y, 120.0, 60.0


def event(seconds: float, *boxes: Box, camera: str = "cam", score: float = 0.9) -> DetectionEvent:
    return DetectionEvent(
        camera_id=camera,
        frame_id=f"{seconds:.1f}",
        captured_at_ns=round((START_S + seconds) * 1e9),
        width=1280,
        height=720,
        model="m.pt",
        objects=tuple(DetectedObject("car", 2, score, box) for box in boxes),
        latency=StageLatencies(1, 1, 1, 1, 1),
    )


def analysis() -> FrameAnalysis:
    return FrameAnalysis(TrackingSettings())


def clock() -> Time:
    time = Time()
    time.seconds = START_S
    return time


async def follow(it: PublisherFixture, number: int, *boxes: Box, epoch: int = 1, **how: object) -> Receipt:
    """Commit a camera's frame at 5 fps; without boxes it shows one car."""
    seen = event(number / 5, *(boxes or (car(number / 5),)))
    return await it.publisher.publish(replace(Submission(seen, epoch, number + 1), **how))


def published_ids(topic: Topic) -> list[list[int | None]]:
    return [[one["track_id"] for one in json.loads(record.value)["detections"]] for record in topic.records]


async def test_an_object_has_the_same_id_in_receipts_and_in_published_events(tmp_path: Path):
    async with running_publisher(tmp_path, analysis=analysis(), time=clock()) as it:
        receipts = [await follow(it, number) for number in range(4)]
        await it.until(lambda now: now.published == 4)
        assert [receipt.track_ids for receipt in receipts] == [(None,), (FIRST_ID,), (FIRST_ID,), (FIRST_ID,)]
        assert published_ids(it.topic) == [[None], [FIRST_ID], [FIRST_ID], [FIRST_ID]]


async def test_a_repeated_frame_is_answered_with_the_ids_of_the_first_and_moves_no_track(tmp_path: Path):
    async with running_publisher(tmp_path, analysis=analysis(), time=clock()) as it:
        first = [await follow(it, number) for number in range(3)]
        again = await follow(it, 2)
        assert again == replace(first[2], repeated=True)
        assert (await follow(it, 3)).track_ids == (FIRST_ID,)


async def test_a_refused_frame_moves_no_track(tmp_path: Path):
    async with running_publisher(tmp_path, analysis=analysis(), time=clock()) as it:
        for number in (0, 1, 3):
            await follow(it, number)
        with pytest.raises(FrameRepeated):
            await follow(it, 2, (700.0, 500.0, 100.0, 100.0))
        assert (await follow(it, 4)).track_ids == (FIRST_ID,)


async def test_a_weak_box_keeps_an_id_and_is_not_published(tmp_path: Path):
    async with running_publisher(tmp_path, analysis=analysis(), time=clock()) as it:
        for number in range(3):
            await follow(it, number)
        for number in range(3, 15):  # 2.4 s, more than a track outlives its last match
            unsure = WeakDetection(2, 0.15, car(number / 5))
            await it.publisher.publish(Submission(event(number / 5), 1, number + 1, weak=(unsure,)))
        assert (await follow(it, 15)).track_ids == (FIRST_ID,)
        await it.until(lambda now: now.published == 16)
        assert published_ids(it.topic)[3:15] == [[]] * 12


async def test_a_camera_that_is_not_tracked_has_no_ids_and_stores_nothing(tmp_path: Path):
    async with running_publisher(tmp_path, analysis=analysis(), time=clock()) as it:
        assert [(await follow(it, number, tracked=False)).track_ids for number in range(3)] == [(None,)] * 3
    with closing(Spool(SpoolOptions(tmp_path))) as spool:
        assert spool._database.execute("SELECT COUNT(*) FROM analysis").fetchone() == (0,)


async def test_without_tracking_no_camera_has_ids(tmp_path: Path):
    async with running_publisher(tmp_path, analysis=FrameAnalysis(TrackingSettings(enabled=False)), time=clock()) as it:
        assert [(await follow(it, number)).track_ids for number in range(3)] == [(None,)] * 3


async def test_what_waited_out_an_outage_and_a_death_has_the_ids_of_its_commit(tmp_path: Path):
    async with running_publisher(tmp_path, analysis=analysis(), time=clock()) as dead:
        dead.topic.error = DeliveryUnavailable("away")
        for number in range(4):
            await follow(dead, number)
    async with running_publisher(tmp_path, analysis=analysis(), time=clock()) as reborn:
        await reborn.until(lambda now: now.published == 4)
        assert published_ids(reborn.topic) == [[None], [FIRST_ID], [FIRST_ID], [FIRST_ID]]


async def test_a_new_publisher_goes_on_with_the_same_tracks_and_gives_no_id_twice(tmp_path: Path):
    async with running_publisher(tmp_path, analysis=analysis(), time=clock()) as dead:
        for number in range(4):
            await follow(dead, number, car(number / 5), car(number / 5, y=400))
    async with running_publisher(tmp_path, analysis=analysis(), time=clock()) as reborn:
        both = car(1.0), car(1.0, y=400)
        assert (await follow(reborn, 5, *both)).track_ids == (FIRST_ID, FIRST_ID + 1)
        for number in (6, 7):
            ids = (await follow(reborn, number, car(number / 5), (700.0, 600.0, 80.0, 80.0))).track_ids
        assert ids[0] == FIRST_ID
        assert ids[1] is not None
        assert ids[1] > FIRST_ID + 1


async def test_a_new_epoch_is_no_reason_for_new_ids_and_a_long_gap_is(tmp_path: Path):
    async with running_publisher(tmp_path, analysis=analysis(), time=clock()) as it:
        for number in range(3):
            await follow(it, number)
        assert (await follow(it, 5, epoch=2)).track_ids == (FIRST_ID,)
        await follow(it, 20, epoch=3)
        (after,) = (await follow(it, 21, epoch=3)).track_ids
        assert after is not None
        assert after > FIRST_ID


async def test_a_frame_captured_no_later_than_the_one_before_has_no_ids(tmp_path: Path):
    async with running_publisher(tmp_path, analysis=analysis(), time=clock()) as it:
        for number in range(3):
            await follow(it, number)
        stepped = await it.publisher.publish(Submission(event(0.1, car(0.6)), 1, 4))
        assert stepped.track_ids == (None,)
        assert (await it.publisher.publish(Submission(event(0.8, car(0.8)), 1, 5))).track_ids == (FIRST_ID,)


async def test_frames_without_an_epoch_are_taken_by_their_capture_time(tmp_path: Path):
    async with running_publisher(tmp_path, analysis=analysis(), time=clock()) as it:
        seen = [await it.publisher.publish(Submission(event(number / 5, car(number / 5)))) for number in (0, 1, 3, 2)]
        assert [receipt.track_ids for receipt in seen] == [(None,), (FIRST_ID,), (FIRST_ID,), (None,)]


async def test_a_frame_with_a_number_that_is_none_is_committed_without_ids(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    async with running_publisher(tmp_path, analysis=analysis(), time=clock()) as it:
        for number in range(3):
            await follow(it, number)
        with caplog.at_level(logging.ERROR):
            assert (await follow(it, 3, (float("nan"), 0.0, 1.0, 1.0))).track_ids == (None,)
        assert "a frame's objects are not tracked" in caplog.text
        assert (await follow(it, 4)).track_ids == (FIRST_ID,)


def frames(numbers: range, camera: str = "cam") -> list[Arrival]:
    return [
        Arrival(f"{camera}-{n}", camera, 1, n + 1, b"", n, JudgedFrame(event(n / 5, car(n / 5), camera=camera)))
        for n in numbers
    ]


def ids_of(spool: Spool, arrivals: list[Arrival]) -> list[int | None]:
    return [one.analysed.event.objects[0].track_id for one in spool.commit(arrivals) if one and one.analysed]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20])
def test_ids_do_not_depend_on_how_frames_are_grouped_into_transactions(tmp_path: Path, size: int):
    with closing(Spool(SpoolOptions(tmp_path), analysis())) as spool:
        groups = [frames(range(first, min(first + size, 20))) for first in range(0, 20, size)]
        assert [one for group in groups for one in ids_of(spool, group)] == [None] + [FIRST_ID] * 19


def test_ids_hold_over_another_number_of_shards(tmp_path: Path):
    counts, found = [1, 4, 2, 1, 3], []
    for turn, count in enumerate(counts):
        for number in range(count):
            shard = Shard(number + 1, count)
            with closing(open_shard(SpoolOptions(tmp_path), shard, analysis())) as spool:
                if shard_of("cam", count) == number:
                    found += ids_of(spool, frames(range(turn * 3, turn * 3 + 3)))
    assert found == [None] + [FIRST_ID] * (3 * len(counts) - 1)


def test_stored_tracks_that_cannot_be_read_begin_anew_with_ids_above_all_of_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with closing(Spool(SpoolOptions(tmp_path), analysis())) as spool:
        before = ids_of(spool, frames(range(3)))
        spool._database.execute("UPDATE analysis SET state = x'00', digest = ?", (digest(b"\0"),))
    with caplog.at_level(logging.ERROR), closing(Spool(SpoolOptions(tmp_path), analysis())) as spool:
        after = ids_of(spool, frames(range(3, 6)))
    assert "the objects of a camera begin anew" in caplog.text
    assert after[0] is None
    assert min(one for one in after if one) > max(one for one in before if one)


def test_no_id_is_given_twice_where_the_stored_tracks_are_older_than_the_last_frame(tmp_path: Path):
    """As after a loss of power, or out of a damaged file."""
    with closing(Spool(SpoolOptions(tmp_path), analysis())) as spool:
        ids_of(spool, frames(range(3)))
        (old,) = spool._database.execute("SELECT state FROM analysis").fetchone()
        newcomer = [(600.0, 500.0, 80.0, 80.0), car(0.6)]
        given = set()
        for number in (3, 4):
            seen = JudgedFrame(event(number / 5, *newcomer))
            (one,) = spool.commit([Arrival(f"{number}", "cam", 1, number + 1, b"", number, seen)])
            assert one is not None
            assert one.analysed is not None
            given |= {each.track_id for each in one.analysed.event.objects}
    lost = FrameAnalysis(TrackingSettings())
    states = lost.load("cam", {TRACKS: old})
    for number in (5, 6):
        states, analysed = lost.analyse(
            states, JudgedFrame(event(number / 5, (200.0, 20.0, 80.0, 80.0), car(number / 5)))
        )
    other, same = (each.track_id for each in analysed.event.objects)
    assert same == FIRST_ID
    assert other not in given
