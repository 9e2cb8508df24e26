"""Small state files: replaced as a whole."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from app.core.files import replace_file, sync


def test_a_file_is_made_where_it_is_missing(tmp_path: Path):
    replace_file(tmp_path / "state", "1\n")
    assert (tmp_path / "state").read_text() == "1\n"


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path):
    (tmp_path / "state").write_text("a longer text than the new one")
    replace_file(tmp_path / "state", "größer")
    assert (tmp_path / "state").read_text(encoding="utf-8") == "größer"
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_only_the_owner_may_read_it(tmp_path: Path):
    (tmp_path / "state").write_text("old")
    (tmp_path / "state").chmod(0o644)
    replace_file(tmp_path / "state", "secret")
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o600


def test_a_failure_leaves_the_old_content_and_nothing_beside_it(tmp_path: Path):
    (tmp_path / "state").write_text("old")
    with pytest.raises(UnicodeEncodeError):
        replace_file(tmp_path / "state", "\ud800")
    assert (tmp_path / "state").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_folder_in_its_place_is_an_error_and_stays(tmp_path: Path):
    (tmp_path / "state").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path / "state", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_missing_folder_is_an_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "missing" / "state", "new")


def test_a_reader_never_sees_a_part(tmp_path: Path):
    path, texts = tmp_path / "state", ["a" * 200_000, "b" * 100_000]
    replace_file(path, texts[0])
    done = threading.Event()

    def write() -> None:
        for number in range(20):
            replace_file(path, texts[number % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    read = {path.read_text()}
    while not done.is_set():
        read.add(path.read_text())
    writer.join()
    assert read <= set(texts)


def test_a_file_and_a_folder_can_be_flushed(tmp_path: Path):
    (tmp_path / "state").write_text("new")
    sync(tmp_path / "state")
    sync(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "missing")
