"""Every way to change cameras ends in the same reconciliation, and outlives a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.errors import CameraExists, CameraUnknown, ChangeNotKept, SettingsError
from app.fleet import Fleet, Origin, Reconciler, camera_store
from tests.support.fleet import Runner, camera, configured, fleet

A, B = camera("a", fps=1), camera("b")


def wanted(cameras: Fleet) -> dict[str, Origin]:
    return {one.settings.id: one.origin for one in cameras.desired}


async def restarted(before: Fleet, runner: Runner, folder: Path, *cameras) -> Fleet:
    await before.close()
    runner.take()
    after = fleet(runner, folder, *cameras)
    await after.open(0)
    return after


async def test_a_change_touches_its_camera_alone(tmp_path: Path):
    runner = Runner()
    cameras = fleet(runner, tmp_path, A, B)
    await cameras.open(0)
    await cameras.add(camera("c", fps=3))
    await cameras._reconciler.settled("c")
    assert runner.take() == ["start a 1", "start b 5", "start c 3"]
    await cameras.replace(camera("c", fps=4))
    await cameras._reconciler.settled("c")
    await cameras.remove("b")
    assert runner.take() == ["stop c", "settled c", "start c 4", "stop b", "settled b"]
    assert wanted(cameras) == {"a": Origin.CONFIGURED, "c": Origin.ADDED}
    await cameras.close()


async def test_what_was_added_changed_and_removed_is_so_after_a_restart(tmp_path: Path):
    runner = Runner()
    cameras = fleet(runner, tmp_path, A, B)
    await cameras.open(0)
    await cameras.add(camera("c", fps=3))
    await cameras.replace(camera("a", fps=2))
    await cameras.remove("b")
    cameras = await restarted(cameras, runner, tmp_path, A, B)
    assert wanted(cameras) == {"a": Origin.CHANGED, "c": Origin.ADDED}
    cameras = await restarted(cameras, runner, tmp_path, A, camera("b", fps=9))
    assert wanted(cameras) == {"a": Origin.CHANGED, "b": Origin.CONFIGURED, "c": Origin.ADDED}
    cameras = await restarted(cameras, runner, tmp_path, A, B)
    assert wanted(cameras)["b"] is Origin.CONFIGURED  # its removal was over, for good
    await cameras.close()


async def test_a_changed_configuration_touches_only_what_it_says_something_new_of(tmp_path: Path):
    runner = Runner()
    cameras = fleet(runner, tmp_path, A, B)
    await cameras.open(0)
    await cameras.remove("b")
    runner.take()
    await cameras.configure(configured(camera("a", fps=7), B, camera("d", fps=1)))
    for name in "abd":
        await cameras._reconciler.settled(name)
    assert sorted(runner.take()) == ["settled a", "start a 7", "start d 1", "stop a"]
    await cameras.close()


async def test_a_new_password_in_the_environment_does_not_bring_a_removed_camera_back(tmp_path: Path):
    runner = Runner()
    cameras = fleet(runner, tmp_path, A, B)
    await cameras.open(0)
    await cameras.remove("b")
    said = configured(A, B)
    changed = camera("b", "rtsp://viewer:other@gate.example/1")
    await cameras.configure(type(said)((A, changed), said.fingerprints))
    assert set(wanted(cameras)) == {"a"}
    await cameras.close()


async def test_an_address_as_it_is_shown_keeps_its_password_and_changes_nothing_else(tmp_path: Path):
    cameras = fleet(Runner(), tmp_path, B)
    await cameras.open(0)
    await cameras.replace(camera("b", str(B.url), fps=2))
    (now,) = cameras.desired
    assert now.settings.url.reveal() == B.url.reveal()
    assert now.settings.fps == 2
    with pytest.raises(SettingsError, match="in the place of a secret"):
        await cameras.replace(camera("b", "rtsp://viewer:***@evil.example/1"))
    with pytest.raises(SettingsError, match="in the place of a secret"):
        await cameras.add(camera("c", str(B.url)))
    await cameras.close()


async def test_what_there_is_is_not_added_and_what_there_is_not_is_neither_changed_nor_removed(tmp_path: Path):
    cameras = fleet(Runner(), tmp_path, A)
    await cameras.open(0)
    with pytest.raises(CameraExists):
        await cameras.add(camera("a"))
    with pytest.raises(CameraUnknown):
        await cameras.replace(B)
    with pytest.raises(CameraUnknown):
        await cameras.remove("b")
    await cameras.close()


async def test_a_change_that_changes_nothing_touches_nothing(tmp_path: Path):
    runner = Runner()
    cameras = fleet(runner, tmp_path, A)
    await cameras.open(0)
    await cameras._reconciler.settled("a")
    runner.take()
    await cameras.replace(A)
    await cameras.configure(configured(A))
    assert runner.take() == []
    await cameras.close()


async def test_what_cannot_be_kept_is_not_done_and_the_reason_is_reported(tmp_path: Path):
    runner = Runner()
    file = tmp_path / "cameras.json"
    file.write_text("{damaged")
    cameras = fleet(runner, tmp_path, A)
    await cameras.open(0)
    assert wanted(cameras) == {"a": Origin.CONFIGURED}
    with pytest.raises(ChangeNotKept, match="repair it, or move it away"):
        await cameras.add(B)
    assert wanted(cameras) == {"a": Origin.CONFIGURED}
    assert file.read_text() == "{damaged"
    file.unlink()
    await cameras.add(B)
    assert set(wanted(cameras)) == {"a", "b"}
    await cameras.close()


async def test_a_second_system_of_the_same_folder_runs_what_is_configured_and_takes_no_change(tmp_path: Path):
    first, second = fleet(Runner(), tmp_path, A), fleet(Runner(), tmp_path, A)
    await first.open(0)
    await first.add(B)
    await second.open(0)
    assert set(wanted(second)) == {"a"}
    with pytest.raises(ChangeNotKept, match="SIGHTLINE_STATE_DIR"):
        await second.add(B)
    await first.close()
    await second.open(1)
    assert set(wanted(second)) == {"a", "b"}
    await second.close()


async def test_a_successor_waits_for_its_predecessor_to_give_the_changes_back(tmp_path: Path):
    first, second = fleet(Runner(), tmp_path, A), fleet(Runner(), tmp_path, A)
    await first.open(0)
    await first.add(B)
    opening = asyncio.ensure_future(second.open(30))
    await asyncio.sleep(0.05)
    assert not opening.done()
    await first.close()
    await opening
    assert set(wanted(second)) == {"a", "b"}
    await second.close()


async def test_who_leaves_while_a_change_is_made_leaves_no_half_of_it(tmp_path: Path):
    cameras = fleet(Runner(), tmp_path, A)
    await cameras.open(0)
    asking = asyncio.ensure_future(cameras.add(B))
    await asyncio.sleep(0)
    asking.cancel()
    await cameras.configure(configured(A, camera("d")))  # waits for its turn
    assert set(wanted(cameras)) == {"a", "b", "d"}
    assert set(camera_store(tmp_path).load().by_id) == {"b"}
    await cameras.close()


async def test_two_hundred_cameras_added_and_removed_leave_nothing_in_the_file(tmp_path: Path):
    runner = Runner()
    cameras = fleet(runner, tmp_path, A)
    await cameras.open(0)
    for number in range(200):
        await cameras.add(camera(f"c{number}"))
        await cameras.remove(f"c{number}")
    assert camera_store(tmp_path).load().by_id == {}
    assert not cameras._list._running
    await cameras.close()


async def test_cameras_without_a_rate_of_their_own_take_the_usual_one(tmp_path: Path):
    runner = Runner()
    reconciler = Reconciler(runner.start)
    cameras = Fleet(configured(B), camera_store(tmp_path), reconciler, 7)
    reconciler.start()
    await reconciler.settled("b")
    assert runner.take() == ["start b 7"]
    await cameras.close()
