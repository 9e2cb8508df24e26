"""The spool's file: what was committed is there, whatever is killed, full, damaged or of another version."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import SpoolFull, SpoolUnavailable
from app.publisher import Spool, SpoolOptions, read_accounts
from app.publisher.spool.codec import digest, dump, load
from app.publisher.spool.file import FILE, SCHEMA, connect, upgrade
from app.publisher.spool.rows import Arrival, Delivery, Refusal
from app.publisher.spool.salvage import put_aside, rescue
from tests.support.paths import ROOT
from tests.support.publisher import NOW, arrival, event


def filled(folder: Path, count: int, body: bytes = b"") -> list[int]:
    """Commit events, close, and return their ids."""
    spool = Spool(SpoolOptions(folder))
    taken = spool.commit([arrival(f"e{number}", f"cam-{number % 5}", number + 1, body) for number in range(count)])
    spool.close()
    ids = [one.id for one in taken if one]
    assert len(ids) == count
    return ids


def commit(spool: Spool, *arrivals: Arrival) -> list[int]:
    """Commit events of which none is known; return the ids under which they wait."""
    taken = spool.commit(arrivals)
    ids = [one.id for one in taken if one]
    assert len(ids) == len(taken)
    assert all(ids)
    return ids


def test_a_stored_event_comes_back_as_it_was():
    assert load(dump(event("a"))) == (event("a"), None)
    assert load(dump(event("a"), due_at_ns=NOW)) == (event("a"), NOW)
    truncated = replace(event("a"), truncated=True)
    assert load(dump(truncated)) == (truncated, None)


def test_an_event_that_was_stored_before_budgets_were_is_read_without_one():
    stored = (
        b'{"camera_id":"cam","frame_id":"a","captured_at_ns":999950000000,"width":640,"height":360,"model":"m.pt",'
        b'"objects":[{"label":"car","class_id":2,"confidence":0.9,"bbox":[1.0,2.0,3.0,4.0]}],'
        b'"latency":{"encode":1,"transport":1,"queue":1,"decode":1,"inference":1}}'
    )
    assert load(stored) == (event("a"), None)


def test_an_event_waits_until_it_is_acknowledged_and_its_id_is_known_from_then_on(tmp_path: Path):
    spool = Spool(SpoolOptions(tmp_path))
    first, second = commit(spool, arrival("a"), arrival("b"))
    assert [waiting.event_id for waiting in spool.waiting("cam", 0, 10)] == ["a", "b"]
    spool.commit([], [Delivery(first, "a", NOW)])
    assert [waiting.id for waiting in spool.waiting("cam", 0, 10)] == [second]
    assert spool.commit([arrival("a"), arrival("b")]) == [None, None]
    accounts = spool.accounts()
    assert (accounts.accepted, accounts.published, accounts.spooled, accounts.balanced) == (2, 1, 1, True)
    spool.close()
    assert read_accounts(tmp_path) == accounts


def test_numbers_of_all_64_bits_are_kept_in_their_order(tmp_path: Path):
    spool = Spool(SpoolOptions(tmp_path))
    top = 2**64 - 1
    for number, (epoch, sequence) in enumerate([(1, 5), (1, 2**63 - 1), (1, 2**63), (1, top), (2**63, 1), (top, top)]):
        for late in (0, 1, sequence):  # the last one that the publisher let through counts
            event_id = f"e{number}-{late}"
            spool.commit([Arrival(event_id, "cam", epoch, late or sequence, dump(event(event_id)), NOW)])
        assert [(turn.epoch, turn.sequence) for turn in spool.order_keys()] == [(epoch, sequence)]
    spool.close()
    spool = Spool(SpoolOptions(tmp_path))
    assert [(turn.epoch, turn.sequence) for turn in spool.order_keys()] == [(top, top)]
    spool.close()


def test_an_acknowledged_id_is_forgotten_after_ten_minutes(tmp_path: Path):
    spool = Spool(SpoolOptions(tmp_path))
    (given,) = commit(spool, arrival("a"))
    spool.commit([], [Delivery(given, "a", NOW)])
    spool.tidy(NOW + 599 * 10**9)
    assert spool.knows("a")
    spool.tidy(NOW + 601 * 10**9)
    assert not spool.knows("a")
    spool.close()


def test_a_group_of_which_one_cannot_be_written_is_not_written_at_all(tmp_path: Path):
    spool = Spool(SpoolOptions(tmp_path, max_bytes=10_000))
    with pytest.raises(SpoolFull, match="full"):
        spool.commit([arrival("small"), arrival("large", body=b"x" * 10_000)])
    assert not spool.knows("small")
    assert spool.accounts().accepted == 0
    spool.close()


def test_the_size_limit_counts_what_waits_and_frees_what_was_acknowledged(tmp_path: Path):
    spool = Spool(SpoolOptions(tmp_path, max_bytes=20_000))
    ids = []
    while spool.accounts().bytes < 20_000 - 1_300:
        ids += commit(spool, arrival(f"e{len(ids)}", body=b"x" * 1_000))
    with pytest.raises(SpoolFull):
        spool.commit([arrival("one more", body=b"x" * 1_000)])
    assert 10 <= len(ids) <= 20
    spool.commit([], [Delivery(given, f"e{number}", NOW) for number, given in enumerate(ids)])
    assert spool.accounts().bytes == 0
    assert commit(spool, arrival("again", body=b"x" * 1_000))
    spool.close()


def test_only_one_publisher_has_a_spool(tmp_path: Path):
    first = Spool(SpoolOptions(tmp_path))
    with pytest.raises(SpoolUnavailable, match="in use by another publisher"):
        Spool(SpoolOptions(tmp_path))
    first.close()
    Spool(SpoolOptions(tmp_path)).close()


def test_a_folder_that_cannot_be_is_reported_in_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolUnavailable, match="cannot be written"):
        Spool(SpoolOptions(tmp_path / "file" / "spool"))


COMMITTER = """
import sys
from dataclasses import replace
from pathlib import Path
from app.publisher import Spool, SpoolOptions
from tests.unit.publisher.spool.test_spool import arrival
spool = Spool(SpoolOptions(Path(sys.argv[1])))
for number in range(10**9):
    spool.commit([arrival(f"e{number}-{part}") for part in range(3)])
    print(number, flush=True)
"""


def test_what_a_killed_process_had_committed_is_there(tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", COMMITTER, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    reported = [int(line) for line in itertools.islice(process.stdout, 200)]
    process.send_signal(signal.SIGKILL)
    reported += [int(line) for line in process.stdout.read().split()]
    process.wait()
    spool = Spool(SpoolOptions(tmp_path))
    assert all(spool.knows(f"e{number}-{part}") for number in reported for part in range(3))
    assert spool.accounts().balanced
    # One more may have been committed, and not reported.
    assert spool.accounts().spooled in (3 * len(reported), 3 * len(reported) + 3)
    spool.close()


def test_a_full_disk_refuses_arrivals_keeps_room_for_acknowledgements_and_takes_arrivals_again(tmp_path: Path):
    spool = Spool(SpoolOptions(tmp_path))
    ids = [commit(spool, arrival(f"e{number}", body=b"x" * 4_000))[0] for number in range(20)]
    spool._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (pages,) = spool._database.execute("PRAGMA page_count").fetchone()
    spool._database.execute(f"PRAGMA max_page_count = {pages}")  # SQLite answers as on a full disk
    with pytest.raises(SpoolFull, match="disk is full"):
        spool.commit([arrival(f"more{number}", body=b"x" * 4_000) for number in range(100)])
    spool.commit([], [Delivery(given, f"e{number}", NOW) for number, given in enumerate(ids)])
    assert spool.accounts().published == 20
    assert commit(spool, arrival("after", body=b"x" * 4_000))
    spool.close()


def test_a_file_of_the_first_schema_is_taken_to_the_present_one_with_all_it_holds(tmp_path: Path):
    old = sqlite3.connect(tmp_path / FILE)
    old.executescript(f"PRAGMA journal_mode = WAL; {SCHEMA[0]} PRAGMA user_version = 1;")
    body = dump(event("a"))
    old.execute("INSERT INTO event VALUES (7, 'a', 'cam', ?, ?, ?)", (NOW, body, digest(body)))
    old.execute("UPDATE account SET count = 1 WHERE name = 'accepted'")
    old.commit()
    old.close()
    spool = Spool(SpoolOptions(tmp_path))
    assert [waiting.id for waiting in spool.waiting("cam", 0, 10)] == [7]
    spool.commit([], [], [Refusal(7, "too large", NOW)])
    assert spool.accounts().quarantined == 1
    spool.close()


def test_a_file_of_a_newer_sightline_is_left_alone(tmp_path: Path):
    filled(tmp_path, 1)
    with sqlite3.connect(tmp_path / FILE) as newer:
        newer.execute(f"PRAGMA user_version = {len(SCHEMA) + 1}")
    with pytest.raises(SpoolUnavailable, match="newer Sightline"):
        Spool(SpoolOptions(tmp_path))
    assert not list(tmp_path.glob("*damaged*"))


@pytest.mark.parametrize("harm", ["truncated", "flipped", "headless"])
def test_of_a_damaged_file_the_readable_is_carried_over_the_rest_counted_and_the_file_kept(tmp_path: Path, harm: str):
    filled(tmp_path, 400, b"x" * 900)
    file = tmp_path / FILE
    damage(file, harm)
    spool = Spool(SpoolOptions(tmp_path))
    accounts = spool.accounts()
    assert accounts.balanced
    kept = [waiting for camera in range(5) for waiting in spool.waiting(f"cam-{camera}", 0, 1_000)]
    assert len(kept) == accounts.spooled
    assert all(waiting.body == b"x" * 900 for waiting in kept)
    if harm == "flipped":
        assert 300 < len(kept) < 400
        assert accounts.destroyed == 400 - len(kept)
    if harm == "truncated":
        assert 100 < len(kept) < 400
    assert len(list(tmp_path.glob(f"{FILE}.damaged-*"))) >= 1
    assert commit(spool, arrival("after"))
    spool.close()
    Spool(SpoolOptions(tmp_path)).close()  # and it is sound again


def damage(file: Path, harm: str) -> None:
    size = file.stat().st_size
    assert size > 200_000
    with file.open("r+b") as opened:
        if harm == "truncated":
            opened.truncate(size * 2 // 3)
        elif harm == "headless":
            opened.write(b"\x00" * 100)
        else:
            for number in range(6):
                opened.seek(size // 3 + number * 9_000)
                opened.write(b"\xa5" * 20)


def test_damage_found_while_running_is_survived(tmp_path: Path):
    filled(tmp_path, 400, b"x" * 900)
    spool = Spool(SpoolOptions(tmp_path))
    damage(tmp_path / FILE, "truncated")
    outcomes = []
    for number in range(3):
        try:
            outcomes += commit(spool, arrival(f"after{number}"))
        except SpoolUnavailable as error:
            outcomes.append(error)
    assert isinstance(outcomes[-1], int), outcomes
    assert spool.accounts().balanced
    spool.close()


def test_what_is_rescued_keeps_its_ids_so_that_order_outlives_the_damage(tmp_path: Path):
    ids = filled(tmp_path, 10)
    aside = put_aside(tmp_path / FILE)
    fresh = connect(tmp_path / FILE, "normal")
    upgrade(fresh)
    assert rescue(aside, fresh).waiting == 10
    assert [row[0] for row in fresh.execute("SELECT id FROM event ORDER BY id")] == ids
    fresh.close()


def test_commits_cut_off_with_the_end_of_the_log_are_counted_and_the_log_is_kept(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", COMMITTER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    for _ in itertools.islice(process.stdout, 100):
        pass
    process.kill()
    process.wait()
    log = tmp_path / f"{FILE}-wal"
    with log.open("r+b") as opened:
        opened.seek(log.stat().st_size // 2)
        opened.write(b"\xa5" * 64)
    spool = Spool(SpoolOptions(tmp_path))
    accounts = spool.accounts()
    assert accounts.balanced
    assert accounts.destroyed > 30
    assert accounts.accepted >= 300
    assert accounts.spooled == len(spool.waiting("cam", 0, 10_000)) > 30
    assert list(tmp_path.glob(f"{FILE}-wal.damaged-*"))
    spool.close()
    again = Spool(SpoolOptions(tmp_path))
    assert again.accounts() == accounts  # reported once
    again.close()
