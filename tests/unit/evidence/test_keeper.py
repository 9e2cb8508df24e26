"""The evidence spool: what is promised of bytes, rows and addresses, whatever happens in between."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.evidence.item import Kind
from app.evidence.journal import pictures_of, record_of
from app.evidence.keeper import Incident, KeeperOptions
from app.evidence.pictures import JudgedPicture
from app.evidence.rows import State
from tests.support.evidence import SECOND, START_NS, EvidenceSpool, grey_jpeg, picture_at

CLIP, SNAPSHOT = Kind.CLIP, Kind.SNAPSHOT


def see(spool: EvidenceSpool, *seconds: float, camera_id: str = "gate") -> None:
    for at_s in seconds:
        spool.keeper.see(picture_at(at_s, camera_id))


def test_a_snapshot_is_the_very_picture_that_was_judged(tmp_path: Path):
    spool = EvidenceSpool(tmp_path)
    row = spool.row(spool.begin(picture := picture_at(0)))
    stored = spool.folder.read(row.key)
    assert stored is not None
    assert hashlib.sha256(stored).digest() == hashlib.sha256(picture.image).digest()
    assert (row.state, row.bytes) == (State.SPOOLED, len(picture.image))
    assert spool.accounts.spooled == spool.accounts.evidence == 1


def test_the_key_is_fixed_by_camera_day_and_incident(tmp_path: Path):
    spool = EvidenceSpool(tmp_path)
    anomaly_id = spool.begin(picture_at(0), SNAPSHOT, CLIP)
    assert spool.row(anomaly_id).key == f"gate/2025/12/29/{anomaly_id}.jpg"
    assert spool.row(anomaly_id, CLIP).key == f"gate/2025/12/29/{anomaly_id}.mp4"


def test_bytes_of_a_transaction_that_fails_are_removed_and_nothing_is_counted(tmp_path: Path):
    spool = EvidenceSpool(tmp_path)
    incident = Incident("5f7c", "gate", START_NS, (SNAPSHOT, CLIP))

    def fail() -> None:
        with spool.transaction() as database:
            spool.keeper.begin(database, incident, picture_at(0), 1)
            assert len(spool.files()) == 2
            database.execute("no statement")

    with pytest.raises(sqlite3.Error):
        fail()
    assert spool.files() == []
    assert spool.accounts.evidence == 0
    see(spool, 0.2)  # and no clip is open
    assert spool.files() == []


def test_an_incident_that_is_committed_again_has_its_evidence_once(tmp_path: Path):
    spool = EvidenceSpool(tmp_path)
    anomaly_id = spool.begin(picture_at(0), SNAPSHOT, CLIP)
    spool.begin(picture_at(0), SNAPSHOT, CLIP, anomaly_id=anomaly_id)
    assert spool.accounts.evidence == 2


@pytest.mark.parametrize("committed", [True, False])
def test_after_a_crash_a_file_has_a_row_or_is_removed(tmp_path: Path, committed: bool):
    spool = EvidenceSpool(tmp_path)
    spool.database.execute("BEGIN IMMEDIATE")
    incident = Incident("5f7c", "gate", START_NS, (SNAPSHOT, CLIP))
    spool.keeper.begin(spool.database, incident, picture_at(0), 1)
    if committed:
        spool.database.execute("COMMIT")
    spool.close()  # without a word to the keeper; an open transaction is rolled back with its connection
    (tmp_path / "evidence" / "half.jpg.part").write_bytes(b"half")
    again = EvidenceSpool(tmp_path)
    if committed:
        assert again.folder.read(again.row("5f7c").key) == picture_at(0).image
        again.until("5f7c", State.SPOOLED)
    else:
        assert again.files() == []
    assert again.accounts.evidence == (2 if committed else 0)
    assert "half.jpg.part" not in again.files()


def test_a_row_whose_file_is_gone_expires(tmp_path: Path):
    spool = EvidenceSpool(tmp_path)
    anomaly_id = spool.begin(picture_at(0), SNAPSHOT, CLIP)
    for path in (tmp_path / "evidence").iterdir():
        path.unlink()
    spool.close()
    again = EvidenceSpool(tmp_path)
    assert again.row(anomaly_id).lost
    assert again.row(anomaly_id, CLIP).lost
    assert again.accounts.expired == 2


def test_a_frame_without_its_picture_has_its_evidence_refused_and_holds_nothing_back(tmp_path: Path):
    spool = EvidenceSpool(tmp_path)
    anomaly_id = spool.begin(None, SNAPSHOT, CLIP)
    assert spool.row(anomaly_id).state is State.REFUSED
    assert "without its picture" in spool.row(anomaly_id, CLIP).reason
    assert spool.accounts.refused == 2
    assert spool.accounts.lost == {"no_picture": 2}
    assert spool.keeper.trouble == ""  # nobody can do anything about it


def test_a_disk_that_takes_nothing_has_the_evidence_refused(tmp_path: Path):
    spool = EvidenceSpool(tmp_path)
    (tmp_path / "evidence").rmdir()
    anomaly_id = spool.begin(picture_at(0), SNAPSHOT, CLIP)
    assert spool.row(anomaly_id).reason == "it cannot be written: No such file or directory"
    assert spool.accounts.refused == 2
    assert spool.accounts.lost == {"unwritable": 2}
    assert spool.keeper.trouble == (
        "a picture or clip of an incident was lost: it cannot be written: No such file or directory"
    )


def test_what_the_store_has_is_removed_here_and_found_by_its_incident(tmp_path: Path):
    spool = EvidenceSpool(tmp_path)
    anomaly_id = spool.begin(picture_at(0))
    row = spool.row(anomaly_id)
    with spool.transaction() as database:
        spool.keeper.stored(database, [row.key])
        spool.keeper.stored(database, [row.key])  # uploaded twice after a crash
    assert spool.row(anomaly_id).state is State.STORED
    assert spool.files() == []
    assert (spool.accounts.stored, spool.accounts.spooled, spool.accounts.bytes) == (1, 0, 0)


# The quota.


def test_at_the_quota_clips_go_before_snapshots_and_the_oldest_first(tmp_path: Path):
    size = len(grey_jpeg())
    record = len(record_of(picture_at(0)))
    spool = EvidenceSpool(tmp_path, KeeperOptions(max_bytes=2 * size + 2 * record))
    incidents = [spool.begin(picture_at(0, one), SNAPSHOT, CLIP, camera_id=one) for one in ("a", "b")]
    for _ in range(2):
        incidents.append(spool.begin(picture_at(0, "c"), SNAPSHOT, camera_id="c"))
        clips = [spool.row(one, CLIP).lost for one in incidents[:2]]
        assert clips == [True, len(incidents) == 4]
        assert not any(spool.row(one).lost for one in incidents)
    incidents.append(spool.begin(picture_at(0, "c"), SNAPSHOT, camera_id="c"))
    assert [spool.row(one).lost for one in incidents] == [True, False, False, False, False]
    assert spool.row(incidents[0]).reason == "evidence.max_bytes was reached"
    assert spool.accounts.bytes <= 2 * size + 2 * record
    assert len(spool.files()) == spool.accounts.spooled


def test_evidence_larger_than_the_quota_is_refused_and_costs_nothing_that_is_there(tmp_path: Path):
    spool = EvidenceSpool(tmp_path, KeeperOptions(max_bytes=len(grey_jpeg())))
    kept = spool.begin(picture_at(0))
    refused = spool.begin(picture_at(0, jpeg=grey_jpeg() + bytes(1)))
    assert spool.row(refused).reason == "it is larger than evidence.max_bytes"
    assert spool.accounts.lost == {"too_large": 1}
    assert not spool.row(kept).lost


@pytest.mark.parametrize(("uploads", "counted"), [(True, "quota"), (False, "aged")])
def test_what_goes_for_room_is_a_loss_and_told_for_ten_minutes_only_where_a_store_was_to_have_it(
    tmp_path: Path, uploads: bool, counted: str
):
    now = [0.0]
    options = KeeperOptions(max_bytes=len(grey_jpeg()), uploads=uploads)
    spool = EvidenceSpool(tmp_path, options, monotonic=lambda: now[0])
    spool.begin(picture_at(0))
    assert (spool.accounts.lost, spool.keeper.trouble) == ({}, "")
    spool.begin(picture_at(1))
    assert spool.accounts.lost == {counted: 1}
    assert spool.keeper.trouble.startswith("the evidence spool is full (evidence.max_bytes)") == uploads
    now[0] = 600.0
    assert spool.keeper.trouble == ""


# Clips.


def recorded(spool: EvidenceSpool, anomaly_id: str) -> list[float]:
    """Return the seconds of the pictures in a clip's journal, once its film is made."""
    journal = spool.folder.journal(spool.row(anomaly_id, CLIP).key)
    kept = journal.with_name("kept")
    kept.hardlink_to(journal)
    spool.until(anomaly_id, State.SPOOLED)
    pictures = pictures_of(kept, "gate")
    kept.unlink()
    return [round((one.captured_at_ns - START_NS) / SECOND, 3) for one in pictures]


def test_a_clip_has_the_pictures_from_before_to_after_its_incident(tmp_path: Path):
    spool = EvidenceSpool(tmp_path)
    grid = [n / 5 for n in range(101)]
    see(spool, *grid[:51])
    anomaly_id = spool.begin(picture_at(10.0), CLIP)
    see(spool, *grid[51:])
    assert recorded(spool, anomaly_id) == [one for one in grid if 5 <= one <= 15]
    assert [name for name in spool.files() if name.endswith(".pictures")] == []


def test_clips_of_one_camera_that_overlap_are_one_and_another_camera_s_is_its_own(tmp_path: Path):
    spool = EvidenceSpool(tmp_path)
    see(spool, *[n / 2 for n in range(17)])
    first = spool.begin(picture_at(8.0), CLIP)
    see(spool, *[n / 2 for n in range(17, 23)])
    second = spool.begin(picture_at(11.0), CLIP)
    other = spool.begin(picture_at(8.0, "yard"), CLIP, camera_id="yard")
    see(spool, *[n / 2 for n in range(23, 40)])
    assert spool.row(first, CLIP).key == spool.row(second, CLIP).key != spool.row(other, CLIP).key
    assert recorded(spool, first) == [n / 2 for n in range(6, 33)]
    assert spool.accounts.evidence == 2


def test_a_clip_grows_no_longer_than_the_limit_and_the_next_incident_has_a_clip_of_its_own(tmp_path: Path):
    spool = EvidenceSpool(tmp_path, KeeperOptions(before_s=1, after_s=2, max_s=5))
    see(spool, 0, 1)
    first = spool.begin(picture_at(1), CLIP)
    see(spool, 2)
    second = spool.begin(picture_at(2), CLIP)
    see(spool, 3, 4)
    third = spool.begin(picture_at(4), CLIP)
    see(spool, 5, 6, 7)
    assert spool.row(first, CLIP).key == spool.row(second, CLIP).key != spool.row(third, CLIP).key
    assert recorded(spool, third) == [3, 4, 5, 6]
    spool.until(first, State.SPOOLED)


def test_the_clip_of_a_camera_that_falls_silent_is_made_of_what_there_is(tmp_path: Path):
    now = [0.0]
    spool = EvidenceSpool(tmp_path, monotonic=lambda: now[0])
    see(spool, 0, 1)
    anomaly_id = spool.begin(picture_at(2), CLIP)
    spool.tend()
    assert spool.row(anomaly_id, CLIP).state is State.RECORDING
    now[0] = 3.5
    assert recorded(spool, anomaly_id) == [0, 1, 2]


def test_a_clip_that_a_death_cut_short_is_made_of_what_was_written(tmp_path: Path):
    spool = EvidenceSpool(tmp_path)
    see(spool, 0, 1)
    anomaly_id = spool.begin(picture_at(2), CLIP)
    spool.close()
    journal = spool.folder.journal(f"gate/2025/12/29/{anomaly_id}.mp4")
    whole = len(pictures_of(journal, "gate"))
    with journal.open("ab") as file:
        file.write(record_of(picture_at(3))[:-1])  # the process died while it wrote this one
    again = EvidenceSpool(tmp_path)
    assert len(pictures_of(journal, "gate")) == whole >= 1
    assert again.until(anomaly_id, State.SPOOLED).bytes > 0
    again.close()


def test_a_clip_of_which_no_picture_can_be_decoded_is_refused(tmp_path: Path):
    spool = EvidenceSpool(tmp_path, monotonic=iter(range(0, 1000, 2)).__next__)
    anomaly_id = spool.begin(picture_at(0, jpeg=b"\xff\xd8 no picture"), CLIP)
    assert "can be decoded" in spool.until(anomaly_id, State.REFUSED).reason
    assert spool.files() == []


# Privacy.


def test_a_picture_that_cannot_be_anonymised_is_not_stored(tmp_path: Path):
    spool = EvidenceSpool(tmp_path, KeeperOptions(anonymise=("car",)))
    anomaly_id = spool.begin(picture_at(0, jpeg=b"\xff\xd8 no picture"), SNAPSHOT, CLIP)
    assert "anonymised" in spool.row(anomaly_id).reason
    assert spool.row(anomaly_id, CLIP).state is State.REFUSED
    assert spool.files() == []


def test_a_snapshot_in_which_nothing_is_to_be_hidden_stays_as_it_was_judged(tmp_path: Path):
    spool = EvidenceSpool(tmp_path, KeeperOptions(anonymise=("person",)))
    row = spool.row(spool.begin(picture := picture_at(0)))
    assert spool.folder.read(row.key) == picture.image


def test_a_picture_that_is_no_jpeg_is_stored_as_one(tmp_path: Path):
    png = bytes(cv2.imencode(".png", np.full((24, 32, 3), 90, np.uint8))[1])
    spool = EvidenceSpool(tmp_path)
    row = spool.row(spool.begin(JudgedPicture("gate", START_NS, 32, 24, (), png)))
    stored = spool.folder.read(row.key)
    assert stored is not None
    assert stored.startswith(b"\xff\xd8")
