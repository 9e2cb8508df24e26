"""A camera's capture: its source is opened, sampled, watched, and opened again."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from app.cameras import CameraState
from app.cameras.camera import Camera
from app.cameras.sending.client import DetectClient
from app.errors import SourceUnavailable
from tests.support.camera_doubles import Observer, Sender, changes, forever
from tests.support.cameras import (
    QUICK,
    ScriptedSource,
    Service,
    Sources,
    camera_of,
    grey,
    running,
    settings,
    write_video,
)
from tests.support.waiting import until


async def test_its_gauges_are_set_again_though_nothing_changes():
    observer = Observer()
    async with running(camera_of(Sources(ScriptedSource([1])), Sender(), observer=observer)):
        await until(lambda: sum(observer.ups) >= 4)
    assert changes(observer.ups) == [True]


async def test_a_source_that_fails_is_opened_again_and_frame_ids_go_on():
    sources = Sources(ScriptedSource([1, 2, 3, SourceUnavailable("the camera hung up")]), ScriptedSource(forever()))
    sender, observer = Sender(), Observer()
    camera = camera_of(sources, sender, observer=observer)
    async with running(camera):
        await until(lambda: camera.status().ledger.accepted >= 6)
        assert camera.status().reconnects == 1
    ids = [frame.frame_id for frame in sender.sent]
    assert len(ids) == len(set(ids))
    assert "7-3" in ids or "7-4" in ids
    assert [source.closed for source in sources.sources] == [1, 1]
    assert changes(observer.ups)[:3] == [True, False, True]
    assert observer.counted["reconnected"] == 1


async def test_a_source_that_stays_away_is_offline_with_its_reason():
    sources = Sources(ScriptedSource([SourceUnavailable("connection refused")]))
    camera = camera_of(sources, Sender())
    async with running(camera):
        await until(lambda: camera.status().state is CameraState.OFFLINE)
        first = camera.status()
        assert first.reason == "connection refused"
        await until(lambda: sources.opened >= 6)
        assert camera.status().since == first.since
        sources.sources.append(ScriptedSource(forever()))
        sources.opened = 10
        await until(lambda: camera.status().state is CameraState.LIVE)


async def test_the_log_of_a_camera_tried_again_and_again_is_two_lines_of_it(caplog: pytest.LogCaptureFixture):
    sources = Sources(ScriptedSource([SourceUnavailable("connection refused")]))
    camera = camera_of(sources, Sender())
    with caplog.at_level(logging.INFO):
        async with running(camera):
            await until(lambda: sources.opened >= 6)
            sources.sources.append(ScriptedSource(forever()))
            sources.opened = 10
            await until(lambda: camera.status().ledger.accepted >= 1)
    away, live = (record for record in caplog.records if record.name == "app.cameras.source_health")
    assert away.getMessage() == "camera gate unreachable: connection refused"
    assert live.getMessage().startswith("camera gate is live again after ")
    assert {vars(away)["camera_id"], vars(live)["camera_id"]} == {"gate"}


async def test_a_silent_live_source_is_stalled_and_opened_again(caplog: pytest.LogCaptureFixture):
    seen: list[CameraState] = []
    sources = Sources(ScriptedSource([1, 2]), ScriptedSource(forever()))
    camera = camera_of(sources, Sender(), timing=replace(QUICK, stall_s=1.0, reopen_first_s=0.5, reopen_max_s=0.5))

    def look() -> bool:
        seen.append(camera.status().state)
        return camera.status().ledger.accepted >= 5

    with caplog.at_level(logging.WARNING):
        async with running(camera):
            await until(look)
    assert "camera gate unreachable: no frame for 1 s" in caplog.text
    assert sources.opened == 2
    assert CameraState.RECONNECTING in seen
    assert sources.sources[0].closed == 1


async def test_a_foreign_fault_in_a_source_shows_its_type_and_no_secret(caplog: pytest.LogCaptureFixture):
    failing = [ScriptedSource([1, ValueError("rtsp://viewer:hunter2@gate")]) for _ in range(1000)]
    sources = Sources(*failing)
    camera = camera_of(sources, Sender())
    async with running(camera):
        await until(lambda: camera.status().reason == "the source failed with ValueError")
        sources.sources[sources.opened :] = [ScriptedSource(forever())]
        accepted = camera.status().ledger.accepted
        await until(lambda: camera.status().ledger.accepted >= accepted + 3)
    assert "hunter2" not in caplog.text + repr(camera.status())


async def test_a_recording_that_does_not_loop_ends_with_its_last_frame_settled(
    tmp_path: Path, service: Service, client: DetectClient
):
    file = write_video(tmp_path / "v.mp4", [n * 40 for n in range(11)], [grey(100)] * 11)
    camera = Camera(settings(f"{file}?loop=false", fps=5), client=client, epoch=1, budget_ms=2000)
    await asyncio.wait_for(camera.run(), 20)
    status = camera.status()
    assert status.state is CameraState.ENDED
    assert (status.ledger.sampled, status.ledger.accepted, status.ledger.in_flight) == (3, 3, 0)
    assert [request.frame_id for request in service.requests] == ["1-0", "1-5", "1-10"]
    await camera.stop()


async def test_frames_nobody_samples_are_never_retrieved():
    source = ScriptedSource(forever(), every_s=0.005)  # 200 frames a second, of which every fourth is asked for
    camera = camera_of(source, Sender())
    async with running(camera):
        await until(lambda: camera.status().ledger.sampled >= 10)
    assert source.retrieved == list(range(0, 4 * len(source.retrieved), 4))
