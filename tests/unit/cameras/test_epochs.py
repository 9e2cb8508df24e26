"""Epochs: rising, whatever the clock does, and above what the service has committed only for the newest life."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cameras.epochs import MAX_EPOCH, Epochs


def at(ms: int, file: Path | None = None) -> Epochs:
    """Epochs of a process that was started at so many milliseconds since 1970."""
    return Epochs(file, lambda: ms * 1_000_000)


def test_an_epoch_is_above_the_last_one_even_where_the_clock_was_set_back(tmp_path: Path):
    file = tmp_path / "epochs" / "gate-1"
    epochs = [at(ms, file).begin() for ms in (1_700_000_000_000, 1000, 1_800_000_000_000)]
    assert epochs == [1_700_000_000_000, 1_700_000_000_001, 1_800_000_000_000]


def test_an_epoch_that_cannot_be_stored_is_logged_and_is_the_time(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "epochs").write_text("a file in the place of the folder")
    assert at(5, tmp_path / "epochs" / "gate-1").begin() == 5
    assert "cannot be stored" in caplog.text


def test_the_lives_of_one_process_rise_though_its_clock_is_set_back_by_eight_hours():
    now = [1_700_000_000_000]
    epochs = Epochs(wall_ns=lambda: now[0] * 1_000_000)
    first = epochs.begin()
    now[0] -= 8 * 3_600_000
    assert epochs.begin() == first + 1


def test_what_is_committed_is_exceeded_by_the_present_life_and_all_later_ones(tmp_path: Path):
    file = tmp_path / "gate-1"
    epochs = at(1000, file)
    epochs.begin()
    assert epochs.exceed(9000) == 9001
    assert epochs.begin() == 9002
    assert at(1000, file).begin() == 9003


def test_a_process_whose_successor_was_started_takes_no_higher_epoch(tmp_path: Path):
    older, newer = at(1000, tmp_path / "gate-1"), at(1000, tmp_path / "gate-1")
    assert (older.begin(), newer.begin()) == (1000, 1001)
    assert older.exceed(1001) is None
    assert newer.exceed(5000) == 5001
    assert older.exceed(5001) is None


def test_the_last_number_there_is_cannot_be_exceeded():
    epochs = at(1000)
    epochs.begin()
    assert epochs.exceed(MAX_EPOCH) is None
    assert epochs.begin() == 1001
