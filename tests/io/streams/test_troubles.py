"""Every trouble a live stream may have: the camera says so, with a reason, and recovers once the stream is back.

The trials are long and idle, so all of them run at once; each test then looks at one report.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from app.cameras import CameraState
from tests.support import http_server
from tests.support.http_server import HttpServer
from tests.support.rows import Rows
from tests.support.rtsp_server import RtspServer
from tests.support.watched import DOWN, Watched

RECOVERY_S = 10.0
_FPS = 10.0
_MANY = ThreadPoolExecutor


@dataclass(frozen=True)
class Trial:
    """A trouble, its end, and what the camera must say meanwhile."""

    name: str
    begin: Callable[[RtspServer | HttpServer], None]
    reason: str
    """A part of one of the reasons that the camera gives."""
    end: Callable[[RtspServer | HttpServer], None] = lambda _: None
    states: frozenset[CameraState] = DOWN
    """One of these it must come into."""
    hold_s: float = 7.0
    """How long the trouble lasts once the camera has reported of it."""
    query: str = ""
    path: str = "live"
    from_the_start: bool = False


@dataclass(frozen=True)
class Report:
    """What became of a trial."""

    reported_s: float
    """From the trouble's begin until the camera was no longer live."""
    recovered_s: float
    """From the trouble's end until it was live and a frame had come."""
    history: tuple[tuple[CameraState, str], ...]


def hang(server: RtspServer, at: str) -> None:
    server.behaviour.hangs_at = at
    server.reset()


def behave(**changes: object) -> Callable[[RtspServer], None]:
    def change(server: RtspServer) -> None:
        for name, value in changes.items():
            setattr(server.behaviour, name, value)

    return change


def babble(server: RtspServer) -> None:
    server.behaviour.garbage = True
    server.reset()


def then_resets(kind: Callable[[http_server._Request], None]) -> Callable[[HttpServer], None]:
    def begin(server: HttpServer) -> None:
        server.trouble = kind
        server.reset()

    return begin


def untroubled(server: HttpServer) -> None:
    server.trouble = None


def stall(server: HttpServer) -> None:
    server.stalled = True


def unstall(server: HttpServer) -> None:
    server.stalled = False


OFFLINE = frozenset({CameraState.OFFLINE})
STALLED = frozenset({CameraState.STALLED})
AWAY = frozenset({CameraState.RECONNECTING, CameraState.OFFLINE})
SILENT = "no answer within its time-out"

RTSP = [
    Trial("it refuses", RtspServer.go_away, "refused", RtspServer.listen, OFFLINE),
    Trial("it refuses from the start", RtspServer.go_away, "refused", RtspServer.listen, OFFLINE, from_the_start=True),
    Trial("its host is dead", RtspServer.black_hole, SILENT, RtspServer.come_back, hold_s=11.0),
    Trial("it resets the connection", RtspServer.reset, "", hold_s=0.0, states=AWAY),
    Trial("it ends", RtspServer.end, "ended", hold_s=0.0, states=AWAY),
    Trial("it ends over udp", RtspServer.end, "ended", hold_s=0.0, states=AWAY, query="transport=udp"),
    Trial("its connection goes silent", RtspServer.freeze, "no frame for 5 s", hold_s=0.0, states=STALLED),
    Trial(
        "its connection goes silent over udp",
        RtspServer.freeze,
        "no frame for 5 s",
        hold_s=0.0,
        states=STALLED,
        query="transport=udp",
    ),
    Trial("it stalls", behave(stalled=True), "no frame for 5 s", behave(stalled=False), STALLED),
    Trial("it plays but sends nothing", behave(stalled=True), SILENT, behave(stalled=False), from_the_start=True),
    Trial(
        "it plays but sends nothing over udp",
        behave(stalled=True),
        SILENT,
        behave(stalled=False),
        from_the_start=True,
        query="transport=udp",
    ),
    *(
        Trial(f"it hangs at {method}", lambda server, method=method: hang(server, method), SILENT, behave(hangs_at=""))
        for method in ("*", "DESCRIBE", "SETUP", "PLAY")
    ),
    Trial("it sends garbage", babble, "Invalid data", behave(garbage=False), OFFLINE),
]
HTTP = [
    Trial("it refuses", HttpServer.go_away, "refused", HttpServer.listen, OFFLINE),
    Trial("it resets the connection", HttpServer.reset, "", hold_s=0.0, states=AWAY),
    Trial("it stalls", stall, "no frame for 5 s", unstall, STALLED),
    Trial("its sound goes on without pictures", stall, "no frame for 5 s", unstall, AWAY, hold_s=8.0, path="live.ts"),
    Trial("it says nothing", then_resets(http_server.says_nothing), SILENT, untroubled),
    Trial("it hangs after its header", then_resets(http_server.hangs_after_its_header), SILENT, untroubled),
    Trial("it hangs within a picture", then_resets(http_server.hangs_within_a_picture), "no frame for 5 s", untroubled),
    Trial("it sends garbage", then_resets(http_server.sends_garbage), "Invalid data", untroubled, OFFLINE),
    Trial("its parts are garbage", then_resets(http_server.sends_garbage_parts), "", untroubled),
    Trial("it is missing", then_resets(http_server.is_missing), "404", untroubled, OFFLINE),
    Trial("it fails", then_resets(http_server.fails), "5XX", untroubled, OFFLINE),
]
TRIALS = {f"{kind}: {trial.name}": trial for kind, trials in (("rtsp", RTSP), ("http", HTTP)) for trial in trials}


@contextlib.contextmanager
def served(name: str) -> Iterator[tuple[RtspServer | HttpServer, str]]:
    if name.startswith("rtsp"):
        with RtspServer(fps=_FPS) as rtsp:
            yield rtsp, rtsp.url(query=TRIALS[name].query)
    else:
        with HttpServer(fps=_FPS) as server:
            yield server, server.url(TRIALS[name].path)


def undergo(name: str) -> Report:
    trial = TRIALS[name]
    with served(name) as (server, url), contextlib.ExitStack() as stack:
        if trial.from_the_start:
            trial.begin(server)
        camera = stack.enter_context(Watched(url))
        if not trial.from_the_start:
            camera.until_live()
            trial.begin(server)
        began = time.monotonic()
        camera.until_down()
        reported_s = time.monotonic() - began
        camera.until(lambda: has_been_in(camera, trial.states), 60, f"{trial.states} in {camera.history}")
        camera.until(lambda: time.monotonic() - began > trial.hold_s, 60)
        trial.end(server)
        return Report(reported_s, camera.until_live(), tuple(camera.history))


def has_been_in(camera: Watched, states: frozenset[CameraState]) -> bool:
    return any(state in states for state, _ in camera.history)


@pytest.fixture(scope="module")
def reports() -> Iterator[Callable[[str], Report]]:
    with _MANY(len(TRIALS)) as pool:
        futures = {name: pool.submit(undergo, name) for name in TRIALS}
        yield lambda name: futures[name].result(240)


@pytest.mark.parametrize("name", TRIALS)
def test_a_camera_tells_of_a_trouble_and_recovers_from_it(reports: Callable[[str], Report], name: str, rows: Rows):
    report, trial = reports(name), TRIALS[name]
    assert any(trial.reason in reason for state, reason in report.history if state in DOWN), report.history
    assert all(reason for state, reason in report.history if state in DOWN)
    assert report.recovered_s <= RECOVERY_S
    assert report.reported_s <= 7.5
    rows.add(kind_of(name), trial.name.removesuffix(" over udp").replace("*", "every request"), reported(report))


def kind_of(name: str) -> str:
    trial = TRIALS[name]
    if name.startswith("rtsp"):
        return "RTSP over UDP" if trial.query else "RTSP over TCP"
    return "MPEG-TS over HTTP" if trial.path.endswith(".ts") else "MJPEG over HTTP"


def reported(report: Report) -> str:
    return f"reported after {report.reported_s:.1f} s; live again {report.recovered_s:.1f} s after the trouble's end"
