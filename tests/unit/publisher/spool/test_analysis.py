"""Analysis in the spool's transactions: states change with the commit of the events, or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.errors import SpoolFull, SpoolUnavailable
from app.publisher import Shard, Spool, SpoolOptions, open_shard, shard_of
from app.publisher.spool.analysis import Analysed, AnalysisStates, Judged, JudgedFrame
from app.publisher.spool.file import FILE, SCHEMA, connect, upgrade
from app.publisher.spool.outbox import Outbox
from app.publisher.spool.rows import Arrival, Delivery
from app.publisher.spool.spool import CAMERA_MEMORY_S
from tests.support.publisher import NOW, event


class Counting:
    """Counts the frames of each camera, and writes into each event which one it is."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.dumped = 0

    def load(self, camera_id: str, stored: Mapping[str, bytes], under_way: Sequence[Mapping[str, Any]]) -> int:
        self.loaded.append(camera_id)
        return int(stored.get("track", b"0"))

    def analyse(self, states: int, frame: JudgedFrame) -> tuple[int, Analysed]:
        count = states + 1
        counted = replace(frame.event, objects=tuple(replace(one, track_id=count) for one in frame.event.objects))
        return count, Analysed(counted, frame.stored(counted))

    def dump(self, states: int, before: int) -> Mapping[str, bytes]:
        self.dumped += 1
        return {} if states == before else {"track": b"%d" % states}

    def end(self, states: int, camera_id: str, silent_s: float | None) -> tuple[int, Judged]:
        return states, Judged()

    def set_rules(self, rules: str) -> None:
        assert rules == "[]"


def frame(name: str, camera: str = "cam", at_ns: int = NOW) -> Arrival:
    return Arrival(name, camera, 0, 0, b"", at_ns, JudgedFrame(event(name, camera)))


def counts(spool: Spool, *arrivals: Arrival) -> list[int | None]:
    """Commit frames; return the number that each one's event got, ``None`` for one that was known."""
    return [one.analysed.event.objects[0].track_id if one else None for one in spool.commit(arrivals)]


def opened(folder: Path, analysis: Counting | None = None, **how: int) -> closing[Spool]:
    return closing(Spool(SpoolOptions(folder, **how), analysis or Counting()))


def test_a_cameras_frames_follow_each_other_within_a_transaction_and_over_several(tmp_path: Path):
    with opened(tmp_path) as spool:
        assert counts(spool, frame("a"), frame("b"), frame("x", "other")) == [1, 2, 1]
        assert counts(spool, frame("c")) == [3]
        assert [b'"track_id":%d' % number in row.body for number, row in enumerate(spool.waiting("cam", 0, 9), 1)] == [
            True
        ] * 3


def test_what_is_known_of_a_camera_outlives_the_process_and_is_read_once(tmp_path: Path):
    with opened(tmp_path) as spool:
        counts(spool, frame("a"), frame("b"))
    analysis = Counting()
    with opened(tmp_path, analysis) as spool:
        assert counts(spool, frame("c")) == [3]
        assert counts(spool, frame("d")) == [4]
    assert analysis.loaded == ["cam"]


def test_a_state_is_written_once_a_transaction_and_not_with_one_that_has_no_frame(tmp_path: Path):
    analysis = Counting()
    with opened(tmp_path, analysis) as spool:
        spool.commit([frame(f"{number}") for number in range(50)])
        assert analysis.dumped == 1
        spool.commit([], [Delivery(1, "0", NOW)])
        assert analysis.dumped == 1


def test_a_frame_that_was_committed_before_does_not_reach_the_analysis(tmp_path: Path):
    with opened(tmp_path) as spool:
        assert counts(spool, frame("a"), frame("a"), frame("b")) == [1, None, 2]
        assert counts(spool, frame("b"), frame("c")) == [None, 3]


def test_a_transaction_that_fails_changes_nothing_neither_on_disk_nor_in_memory(tmp_path: Path):
    with opened(tmp_path, max_bytes=3_000) as spool:
        assert counts(spool, frame("a"), frame("b")) == [1, 2]
        with pytest.raises(SpoolFull, match="full"):
            spool.commit([frame(f"more-{number}") for number in range(20)])
        assert counts(spool, frame("c")) == [3]
    with opened(tmp_path) as spool:
        assert counts(spool, frame("d")) == [4]


def test_a_transaction_that_the_disk_fails_changes_nothing(tmp_path: Path):
    with opened(tmp_path) as spool:
        assert counts(spool, frame("a")) == [1]
        spool._database.execute("PRAGMA query_only = ON")
        with pytest.raises(SpoolUnavailable):
            spool.commit([frame("b"), frame("c")])
        spool._database.execute("PRAGMA query_only = OFF")
        assert counts(spool, frame("d")) == [2]


def test_a_state_whose_bytes_are_not_those_that_were_written_is_not_used(tmp_path: Path):
    with opened(tmp_path) as spool:
        counts(spool, frame("a"), frame("b"))
    with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        database.execute("UPDATE analysis SET state = x'39'")
    with opened(tmp_path) as spool:
        assert counts(spool, frame("c")) == [1]


def test_the_states_in_a_damaged_file_are_carried_over(tmp_path: Path):
    with opened(tmp_path) as spool:
        counts(spool, *(frame(f"{number}") for number in range(7)))
    with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        database.execute("UPDATE event SET body = x'00' WHERE id = 3")
    with opened(tmp_path) as spool:
        assert len(spool.waiting("cam", 0, 99)) == 6
        assert counts(spool, frame("after")) == [8]


def test_a_file_of_the_schema_before_has_no_states_and_takes_them(tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / FILE)) as old:
        old.executescript(f"PRAGMA journal_mode = WAL; {SCHEMA[0]} {SCHEMA[1]} PRAGMA user_version = 2;")
    with opened(tmp_path) as spool:
        assert counts(spool, frame("a")) == [1]
    with opened(tmp_path) as spool:
        assert counts(spool, frame("b")) == [2]


def test_the_states_of_a_camera_that_is_gone_are_forgotten_and_others_stay(tmp_path: Path):
    with opened(tmp_path) as spool:
        counts(spool, frame("a", "gone"), frame("b", "here"))
        later = NOW + int(CAMERA_MEMORY_S * 1e9)
        counts(spool, frame("c", "here", at_ns=later))
        spool.tidy(later + 10**9)
    analysis = Counting()
    with opened(tmp_path, analysis) as spool:
        assert counts(spool, frame("d", "gone"), frame("e", "here")) == [1, 3]


def test_of_many_cameras_those_used_lately_are_in_memory_and_all_are_on_disk(tmp_path: Path):
    analysis = Counting()
    with closing(connect(tmp_path / FILE, "normal")) as database:
        upgrade(database)
        states = AnalysisStates(analysis, Outbox(10**6), max_cameras=2)

        def see(*cameras: str) -> list[int | None]:
            seen = [states.analyse(database, one, JudgedFrame(event("f", one)), NOW)[0] for one in cameras]
            states.write(database)
            states.committed()
            return [each.event.objects[0].track_id for each in seen]

        assert see("a", "b", "c") == [1, 1, 1]  # more than are kept
        assert see("b", "c") == [2, 2]
        assert analysis.loaded == ["a", "b", "c"]
        assert see("a") == [2]
        assert analysis.loaded == ["a", "b", "c", "a"]
        assert see("b") == [3]
        assert see("c") == [3]


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 2), (2, 1)])
def test_states_go_with_their_camera_to_another_shard(tmp_path: Path, before: int, after: int):
    cameras = [f"cam-{number}" for number in range(12)]

    def commit(count: int, name: str) -> dict[str, int | None]:
        found = {}
        for shard in (Shard(number + 1, count) for number in range(count)):
            with closing(open_shard(SpoolOptions(tmp_path), shard, Counting())) as spool:
                for camera in cameras:
                    if shard_of(camera, count) == shard.number - 1:
                        (found[camera],) = counts(spool, frame(f"{name}-{camera}", camera))
        return found

    assert set(commit(before, "a").values()) == {1}
    assert commit(after, "b") == dict.fromkeys(cameras, 2)
