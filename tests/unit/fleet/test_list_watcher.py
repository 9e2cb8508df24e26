"""A file of cameras, or of rules, that changes while the system runs."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from app.fleet import ListWatcher
from app.settings.camera_lists import CameraListSource, ConfiguredCameras
from app.settings.cameras import CameraSettings
from app.settings.rule_lists import RuleListSource

ONE = "cameras: [{id: a, url: 'rtsp://u:${SECRET}@h/1'}]"
TWO = "cameras: [{id: a, url: 'rtsp://u:${SECRET}@h/1'}, {id: b, url: rtsp://h/2}]"


def following(folder: Path, text: str) -> tuple[ListWatcher[CameraSettings], Path]:
    file = folder / "cameras.yaml"
    file.write_text(text)
    return ListWatcher(CameraListSource(file=file), {"SECRET": "pa55"}), file


def ids(found: ConfiguredCameras | None) -> list[str]:
    assert found is not None
    return [camera.id for camera in found.entries]


def test_a_changed_file_is_taken_once_it_rests(tmp_path: Path):
    looked, file = following(tmp_path, ONE)
    assert ids(looked.read()) == ["a"]
    assert looked.poll() is None
    file.write_text(TWO[:-30])
    assert looked.poll() is None
    file.write_text(TWO)
    assert looked.poll() is None
    assert ids(looked.poll()) == ["a", "b"]
    assert looked.poll() is None


def test_a_file_that_is_replaced_by_another_is_followed(tmp_path: Path):
    looked, file = following(tmp_path, ONE)
    looked.read()
    (tmp_path / "new").write_text(TWO)
    (tmp_path / "new").replace(file)
    looked.poll()
    assert ids(looked.poll()) == ["a", "b"]


@pytest.mark.parametrize(
    "text", ["cameras: [{id: a}]", "cameras: [", "", "\0", "cameras: [{id: a, url: '${NOPE}'}]", None]
)
def test_a_broken_file_is_one_log_line_and_changes_nothing(
    tmp_path: Path, text: str | None, caplog: pytest.LogCaptureFixture
):
    looked, file = following(tmp_path, ONE)
    looked.read()
    file.unlink()
    if text is not None:
        file.write_text(text)
    with caplog.at_level(logging.ERROR, "ray.serve"):
        assert [looked.poll() for _ in range(5)] == [None] * 5
    assert len(caplog.records) == 1
    assert "\n" not in caplog.records[0].getMessage()
    assert looked.trouble
    file.write_text(TWO)
    looked.poll()
    assert ids(looked.poll()) == ["a", "b"]
    assert looked.trouble == ""


def test_the_log_shows_no_password(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    looked, file = following(tmp_path, ONE)
    file.write_text("cameras: [{id: a, url: 'rtsp://u:pa55/x@h/1'}]")
    with caplog.at_level(logging.ERROR, "ray.serve"):
        assert looked.read() is None
    assert "pa55" not in caplog.text + looked.trouble


async def test_following_tells_of_each_change_and_survives_whoever_cannot_take_it(tmp_path: Path):
    looked, file = following(tmp_path, ONE)
    looked.read()
    reported: list[list[str]] = []
    news = asyncio.Event()

    async def changed(found: ConfiguredCameras) -> None:
        reported.append(ids(found))
        news.set()
        raise RuntimeError("no time")

    task = asyncio.ensure_future(looked.follow(changed, 0.005))
    for text, expected in ((TWO, ["a", "b"]), (ONE, ["a"])):
        file.write_text(text)
        await asyncio.wait_for(news.wait(), 10)
        news.clear()
        assert reported[-1] == expected
    task.cancel()


def test_a_list_that_is_no_file_never_changes():
    looked = ListWatcher(CameraListSource(inline="a=rtsp://h/1"), {})
    assert ids(looked.read()) == ["a"]
    assert [looked.poll() for _ in range(3)] == [None] * 3


def test_a_rules_file_is_followed_in_the_same_way(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    file = tmp_path / "rules.yaml"
    file.write_text("rules: [{id: stop, type: stopped}]")
    looked = ListWatcher(RuleListSource(file=file), {})
    first = looked.read()
    assert first is not None
    assert [rule.id for rule in first.entries] == ["stop"]
    with caplog.at_level(logging.ERROR, "ray.serve"):
        file.write_text("rules: [{id: stop, type: stopped, dwell: soon}]")
        assert [looked.poll() for _ in range(3)] == [None] * 3
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("rules: the new configuration is refused and nothing changes: rule 'stop': dwell: 'soon'")
    assert looked.trouble in line
