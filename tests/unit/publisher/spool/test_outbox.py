"""Records of other topics in the spool: their ledger, their limit, and what becomes of them in a damaged file."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app.core.channel import Channel
from app.core.event import DetectionEvent
from app.publisher import Shard, Spool, SpoolOptions, ask_quarantine, open_shard, quarantined
from app.publisher.spool.analysis import Analysed, Judged, JudgedFrame
from app.publisher.spool.file import FILE
from app.publisher.spool.outbox import OutboxAccounts, OutboxRecord, channels_waiting, last_record_id, waiting_records
from app.publisher.spool.rows import Arrival, Delivery, Refusal
from tests.support.publisher import NOW, event


class OneRecord:
    """An analysis that makes one record of each frame, named as the frame."""

    def __init__(self, channel: Channel = "anomalies", size: int = 10) -> None:
        self.channel, self.size = channel, size

    def load(self, camera_id: str, stored: Mapping[str, bytes], under_way: Sequence[Mapping[str, Any]]) -> None:
        return None

    def analyse(self, states: None, frame: JudgedFrame) -> tuple[None, Analysed]:
        seen: DetectionEvent = frame.event
        record = OutboxRecord(self.channel, seen.frame_id, seen.camera_id, 7, b"x" * self.size)
        return None, Analysed(seen, frame.stored(seen), judged=Judged(records=(record,)))

    def dump(self, states: None, before: None) -> Mapping[str, bytes]:
        return {}

    def end(self, states: None, camera_id: str, silent_s: float | None) -> tuple[None, Judged]:
        return None, Judged()

    def set_rules(self, rules: str) -> None:
        pass


def commit(spool: Spool, *names: str, camera: str = "cam") -> list[int]:
    """Commit frames, and return the ids of their records."""
    arrivals = [Arrival(f"{camera}-{name}", camera, 0, 0, b"", NOW, JudgedFrame(event(name, camera))) for name in names]
    return [one.records[0].id for one in spool.commit(arrivals) if one is not None]


def opened(folder: Path, max_bytes: int = 1 << 30, **how: Any) -> Spool:
    return Spool(SpoolOptions(folder, max_bytes), OneRecord(**how))


def waiting(spool: Spool, camera: str = "cam", channel: Channel = "anomalies") -> list[str]:
    rows = spool.read(lambda database: waiting_records(database, channel, camera, 0, 1_000))
    return [row.record.record_id for row in rows]


def accounts(spool: Spool, channel: str = "anomalies") -> OutboxAccounts:
    found = spool.accounts().channels.get(channel, OutboxAccounts())
    assert found.balanced
    return found


def test_a_record_waits_until_it_is_acknowledged_and_is_counted_in_a_ledger_of_its_own(tmp_path: Path):
    with closing(opened(tmp_path)) as spool:
        first, second, third = commit(spool, "a", "b", "c")
        spool.commit([], [Delivery(second, "b", NOW, "anomalies")], [Refusal(third, "too large", NOW, "anomalies")])
        assert waiting(spool) == ["a"]
        assert accounts(spool) == OutboxAccounts(accepted=3, published=1, waiting=1, quarantined=1, bytes=310)
        assert (spool.accounts().accepted, spool.accounts().spooled) == (3, 3)
        assert spool.read(last_record_id) == third
    with closing(opened(tmp_path)) as again:
        assert accounts(again) == OutboxAccounts(accepted=3, published=1, waiting=1, quarantined=1, bytes=310)
        assert again.read(channels_waiting) == [("anomalies", "cam")]
        again.commit([], [Delivery(first, "a", NOW, "anomalies"), Delivery(first, "a", NOW, "anomalies")])
        assert accounts(again).published == 2


def test_a_transaction_that_fails_leaves_no_record_and_no_count(tmp_path: Path):
    with closing(opened(tmp_path)) as spool:
        commit(spool, "a")
        spool._database.execute("CREATE TRIGGER no BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'no'); END")
        with pytest.raises(Exception, match="cannot be written"):
            commit(spool, "b")
        spool._database.execute("DROP TRIGGER no")
        assert waiting(spool) == ["a"]
        assert accounts(spool).accepted == 1


def test_what_was_set_aside_waits_again_behind_what_is_newer_or_is_dropped(tmp_path: Path):
    with closing(opened(tmp_path)) as spool:
        first, second, _ = commit(spool, "a", "b", "c")
        spool.commit([], (), [Refusal(first, "no", NOW, "anomalies"), Refusal(second, "no", NOW, "anomalies")])
        assert [(one.event_id, one.channel, one.reason) for one in quarantined(tmp_path)] == [
            ("a", "anomalies", "no"),
            ("b", "anomalies", "no"),
        ]
        assert ask_quarantine(tmp_path, "resend", ["a"]) == 1
        assert ask_quarantine(tmp_path, "drop", []) == 1
        assert spool.tidy(NOW) == [("anomalies", "cam")]
        assert waiting(spool) == ["c", "a"]
        assert accounts(spool) == OutboxAccounts(accepted=3, waiting=2, discarded=1, bytes=620)


def test_a_channel_that_takes_nothing_loses_its_oldest_records_beyond_an_eighth_of_the_spool(tmp_path: Path):
    with closing(opened(tmp_path, max_bytes=1 << 20, size=1_000)) as spool:  # 131,072 bytes: 100 records of 1,300
        ids = commit(spool, *map(str, range(150)))
        assert waiting(spool) == [str(number) for number in range(100, 150)]
        assert accounts(spool) == OutboxAccounts(accepted=150, waiting=50, discarded=100, bytes=50 * 1_300)
        spool.commit([], [Delivery(ids[0], "0", NOW, "anomalies"), Delivery(ids[149], "149", NOW, "anomalies")])
        assert accounts(spool).published == 1
        assert spool.accounts().spooled == 150


def test_records_are_carried_over_from_a_damaged_file_and_those_that_are_lost_are_counted(tmp_path: Path):
    with closing(opened(tmp_path)) as spool:
        commit(spool, "a", "b", "c", "d")
        spool.commit([], [Delivery(1, "a", NOW, "anomalies")], [Refusal(2, "no", NOW, "anomalies")])
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as database:
        database.execute("UPDATE outbox SET body = x'79' WHERE id = 3")
    with closing(opened(tmp_path)) as salvaged:
        assert waiting(salvaged) == ["d"]
        assert accounts(salvaged) == OutboxAccounts(
            accepted=4, published=1, waiting=1, quarantined=1, discarded=1, bytes=310
        )


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 2), (2, 1)])
def test_records_move_with_their_cameras_to_another_number_of_shards(tmp_path: Path, before: int, after: int):
    cameras = [f"cam-{number}" for number in range(12)]
    old = [open_shard(SpoolOptions(tmp_path), Shard(number, before), OneRecord()) for number in range(1, before + 1)]
    for index, camera in enumerate(cameras):
        commit(old[index % before], "a", "b", "c", camera=camera)
    for spool in old:
        spool.commit([], [Delivery(1, "a", NOW, "anomalies")], [Refusal(2, "no", NOW, "anomalies")])
        spool.close()
    new = [open_shard(SpoolOptions(tmp_path), Shard(number, after), OneRecord()) for number in range(1, after + 1)]
    total = OutboxAccounts()
    for spool in new:
        total += accounts(spool)
    assert (total.accepted, total.published, total.quarantined) == (36, before, before)
    assert total.waiting == 36 - 2 * before
    for camera in cameras:
        found = [names for spool in new if (names := waiting(spool, camera))]
        assert len(found) == 1
        assert found[0] == sorted(found[0])
    for spool in new:
        spool.close()
