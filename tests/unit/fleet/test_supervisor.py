"""One camera's actor is kept alive by its supervisor, whatever becomes of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from app.cameras import CameraStatus
from app.cameras.telemetry import CameraTelemetry, ReportedTelemetry
from app.errors import ActorDied
from app.fleet.supervisor import CameraReport, CameraSupervisor, SupervisorTiming
from app.settings.cameras import CameraSettings
from app.telemetry.prometheus_page import PageMeter
from tests.support.api_system import status
from tests.support.fleet import camera
from tests.support.waiting import until

FAST = SupervisorTiming(
    answer_s=0.02, stop_s=0.05, restart_first_s=0.001, restart_max_s=0.002, probe_s=0.001, probe_again_s=0.001
)


@dataclass
class Actor:
    """An actor that answers until it is reported otherwise."""

    epoch: int
    silent: bool = False
    committed: int | None = None
    """A newer epoch for which the service refuses its frames."""
    accepted: int = 0
    ended: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    killed: bool = False

    async def run(self) -> None:
        await asyncio.shield(self.ended)

    async def call(self, method: str, *arguments: object) -> Any:
        if self.silent:
            await asyncio.Event().wait()
        if self.killed:
            raise ActorDied("it was killed")
        if method == "advance":
            (self.epoch,) = arguments
        return CameraReport(self.status, ()) if method == "report" else self.status

    @property
    def status(self) -> CameraStatus:
        usual = status()
        refused = self.committed is not None and self.committed >= self.epoch
        ledger = replace(usual.ledger, accepted=self.accepted)
        return replace(usual, ledger=ledger, committed_epoch=self.committed if refused else None)

    def kill(self) -> None:
        self.killed = True
        if not self.ended.done():
            self.ended.set_exception(ActorDied("it was killed"))
            self.ended.exception()  # retrieved: nobody may be waiting any more


@dataclass
class Actors:
    """A cluster that starts such actors."""

    refusals: int = 0
    movable: bool = True
    avoided: bool = False
    started: list[Actor] = field(default_factory=list)
    deaths: int = 0
    removed: list[str] = field(default_factory=list)

    async def start(self, settings: CameraSettings, epoch: int) -> Actor:
        if self.refusals:
            self.refusals -= 1
            raise ActorDied("no node takes it")
        self.started.append(Actor(epoch, silent=self.avoided))
        return self.started[-1]

    async def can_move(self, settings: CameraSettings) -> bool:
        return self.movable

    def is_on_avoided_node(self, camera_id: str) -> bool:
        return self.avoided

    def actor_died(self, camera_id: str) -> None:
        self.deaths += 1
        self.avoided = False

    def remove(self, camera_id: str) -> None:
        self.removed.append(camera_id)


def supervisor(actors: Actors, wall_ns: Callable[[], int] = lambda: 5_000_000) -> CameraSupervisor:
    telemetry = ReportedTelemetry(CameraTelemetry("gate", PageMeter()))
    settings = camera("gate", fps=5, resources={"edge": 0.5})
    return CameraSupervisor(settings, actors, telemetry, FAST, wall_ns)


async def answering(watched: CameraSupervisor) -> CameraStatus:
    async with asyncio.timeout(10):
        while (answer := await watched.status()) is None:
            await asyncio.sleep(0.001)
    return answer


async def test_before_its_actor_answers_a_camera_says_what_it_waits_for():
    watched = supervisor(Actors(refusals=10**6))
    snapshot = await watched.snapshot()
    assert snapshot.report is None
    assert snapshot.silence == "its process is being started on a node that has edge: 0.5"
    await watched.stop()


async def test_a_dead_actor_is_started_again_in_a_new_epoch_and_counted():
    actors = Actors()
    watched = supervisor(actors)
    await answering(watched)
    actors.started[0].kill()
    await until(lambda: len(actors.started) == 2)
    await answering(watched)
    assert [actor.epoch for actor in actors.started] == [5, 6]  # though the clock has not moved
    assert ((await watched.snapshot()).restarts, actors.deaths) == (1, 1)
    await watched.stop()


async def test_an_actor_that_cannot_be_started_is_tried_again():
    actors = Actors(refusals=3)
    watched = supervisor(actors)
    await answering(watched)
    snapshot = await watched.snapshot()
    assert (snapshot.restarts, len(actors.started)) == (3, 1)
    assert snapshot.silence.startswith("its process died; it is being started again")
    await watched.stop()


async def test_epochs_rise_with_the_clock_and_never_fall():
    clock = itertools.chain((9_000_000, 2_000_000), itertools.repeat(30_000_000))
    actors = Actors()
    watched = supervisor(actors, lambda: next(clock))
    for count in (1, 2, 3):
        await until(lambda count=count: len(actors.started) == count)
        actors.started[-1].kill()
    await until(lambda: len(actors.started) == 4)
    assert [actor.epoch for actor in actors.started] == [9, 10, 30, 31]
    await watched.stop()


async def test_an_actor_whose_epoch_began_too_low_takes_one_above_the_committed_and_its_successors_too():
    actors = Actors()
    watched = supervisor(actors)
    await answering(watched)
    actors.started[0].committed = 9000  # by a clock that was ahead
    await until(lambda: actors.started[0].epoch == 9001)
    actors.started[0].kill()
    await until(lambda: len(actors.started) == 2)
    assert actors.started[1].epoch == 9002
    await watched.stop()


async def test_an_actor_that_was_accepted_yields_to_a_camera_that_was_started_since():
    actors = Actors()
    watched = supervisor(actors)
    await answering(watched)
    actors.started[0].accepted = 1
    actors.started[0].committed = 9000
    for _ in range(5):
        await answering(watched)
        await asyncio.sleep(FAST.probe_s)
    assert actors.started[0].epoch == 5
    await watched.stop()


async def test_a_recording_that_has_ended_is_not_started_again():
    actors = Actors()
    watched = supervisor(actors)
    await answering(watched)
    actors.started[0].ended.set_result(None)
    await until(lambda: watched._tasks[0].done())
    assert (await watched.status()) is not None
    assert (len(actors.started), (await watched.snapshot()).restarts) == (1, 0)
    await watched.stop()


async def test_an_actor_that_falls_silent_is_moved_where_another_node_can_take_it():
    actors = Actors()
    watched = supervisor(actors)
    await answering(watched)
    actors.started[0].silent = True
    await until(lambda: len(actors.started) == 2)
    assert actors.started[0].killed
    await answering(watched)
    await watched.stop()


async def test_a_silent_actor_stays_where_there_is_no_other_node_and_nobody_waits_for_it():
    actors = Actors(movable=False)
    watched = supervisor(actors)
    await answering(watched)
    actors.started[0].silent = True
    await until(lambda: not watched._answers)
    async with asyncio.timeout(FAST.answer_s / 2):
        assert await watched.picture() is None
    assert not actors.started[0].killed
    await watched.stop()


async def test_an_actor_that_never_answers_on_a_doubtful_node_is_moved():
    actors = Actors(avoided=True)
    watched = supervisor(actors)
    await until(lambda: len(actors.started) == 2)
    await answering(watched)
    await watched.stop()


async def test_stopping_returns_the_last_status_and_ends_the_actor():
    actors = Actors()
    watched = supervisor(actors)
    await answering(watched)
    last = await watched.stop()
    assert last is not None
    assert last.id == "gate"
    assert actors.started[0].killed
    assert actors.removed == ["gate"]
    assert len(actors.started) == 1


async def test_an_actor_that_does_not_settle_in_time_is_ended_all_the_same(caplog: pytest.LogCaptureFixture):
    actors = Actors(movable=False)
    watched = supervisor(actors)
    await answering(watched)
    actors.started[0].silent = True
    assert await watched.stop() is None
    assert actors.started[0].killed
    assert [record.getMessage() for record in caplog.records] == ["camera gate did not settle its last frames"]


async def test_stopping_an_actor_that_is_being_started_takes_less_time_and_is_no_trouble(
    caplog: pytest.LogCaptureFixture,
):
    actors = Actors(avoided=True, movable=False)  # started, and silent
    watched = supervisor(actors)
    await until(lambda: len(actors.started) == 1)
    async with asyncio.timeout(FAST.stop_s):
        assert await watched.stop() is None
    assert actors.started[0].killed
    assert caplog.records == []
