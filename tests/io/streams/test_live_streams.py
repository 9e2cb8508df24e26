"""What an RTSP or MJPEG stream does while all is well: transports, accounts, sizes, timestamps, sampling."""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from app.cameras import CameraState
from app.cameras.camera import CameraTiming
from app.cameras.sampling import EvenGrid
from app.cameras.sources import FrameTime, Source, open_source
from app.core.clock import Clock
from app.errors import SettingsError, SourceUnavailable
from app.settings.source_url import SourceUrl
from tests.support.accounts import Account
from tests.support.certificates import self_signed
from tests.support.h264 import H264, H265, Codec
from tests.support.http_server import HttpServer, is_a_snapshot
from tests.support.numbered import read
from tests.support.rows import Rows
from tests.support.rtsp_server import RtspServer
from tests.support.watched import DOWN, Watched

SECRET = "hunter2"
QUICK = CameraTiming(reopen_first_s=0.1, reopen_max_s=0.2)


@pytest.fixture
def rtsp() -> Iterator[RtspServer]:
    with RtspServer() as server:
        yield server


def opened(url: str) -> Source:
    source = open_source(SourceUrl.parse(url), 5, Clock())
    source.open()
    return source


def grabbed(source: Source, frames: int) -> tuple[list[FrameTime], list[int]]:
    """Grab so many frames; their times, and the numbers of their pictures."""
    timings, numbers = [], []
    for _ in range(frames):
        timing = source.grab()
        assert timing is not None
        timings.append(timing)
        numbers.append(read(source.retrieve().image))
    return timings, numbers


def test_a_camera_is_live_at_its_first_key_frame(rtsp: RtspServer):
    source = opened(rtsp.url())
    _, numbers = grabbed(source, 10)
    source.close()
    assert numbers == list(range(numbers[0], numbers[0] + 10))
    assert numbers[0] <= 1


@pytest.mark.idle
@pytest.mark.parametrize("codec", [H264, H265], ids=lambda codec: codec.name)
@pytest.mark.parametrize("most_bytes", [200, 1400])
def test_h264_and_h265_are_read_whole_or_in_fragments(codec: Codec, most_bytes: int, rows: Rows):
    with RtspServer(codec=codec, most_bytes=most_bytes, size=(640, 384), sound=True) as server:
        source = opened(server.url())
        timings, numbers = grabbed(source, 20)
        source.close()
        assert server.tracks == ["track1"]  # the sound is not even asked for
    assert numbers == list(range(numbers[0], numbers[0] + 20))
    assert numbers[0] <= 3
    assert timings[-1].time_s == pytest.approx(19 / 25, abs=1e-3)
    rows.add("RTSP over TCP", "H.264 and H.265, whole and in fragments, with a sound track", "every picture read")


METADATA = "m=application 0 RTP/AVP 107\r\na=control:track3\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n"
SOUND = "m=audio 0 RTP/AVP 0\r\na=control:track2\r\na=rtpmap:0 PCMU/8000\r\n"
DESCRIPTIONS: dict[str, Callable[[str], str]] = {
    "a track of ONVIF metadata": lambda text: text + METADATA,
    "sound before the pictures": lambda text: text.replace("m=video", f"{SOUND}m=video"),
    "no parameter sets": lambda text: re.sub(r"a=fmtp:[^\r]*\r\n", "", text),
    "lines that end in LF": lambda text: text.replace("\r\n", "\n"),
    "`control:*` and a range": lambda text: text.replace("t=0 0", "t=0 0\r\na=control:*\r\na=range:npt=now-"),
}


@pytest.mark.idle
@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_camera_may_describe_itself_in_other_ways(name: str, rows: Rows):
    with RtspServer(describe=DESCRIPTIONS[name], account=Account("viewer", "p@s%s")) as server:
        source = opened(server.url(query="channel=1&subtype=0", user="viewer", password=quote("p@s%s", safe="")))
        _, numbers = grabbed(source, 5)
        source.close()
        assert server.tracks == ["track1"]
    assert numbers == list(range(numbers[0], numbers[0] + 5))
    rows.add("RTSP over TCP", f"described with {', '.join(DESCRIPTIONS)}; a query", "every picture read")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="there is no IPv6")
@pytest.mark.parametrize("query", ["transport=tcp", "transport=udp"])
def test_a_camera_may_be_named_by_its_ipv6_address(query: str, rows: Rows):
    with RtspServer(host="::1", account=Account("viewer", SECRET)) as server:
        source = opened(server.url(query=query, user="viewer", password=SECRET))
        assert len(grabbed(source, 3)[1]) == 3
        source.close()
    rows.add("RTSP", "an IPv6 address", "let in, over TCP and UDP")


@pytest.mark.idle
def test_a_camera_of_one_frame_a_second_comes_live():
    with RtspServer(fps=1.0) as server, Watched(server.url(), fps=1) as camera:
        assert camera.until_live() < 5


@pytest.mark.idle
def test_a_stream_whose_next_key_frame_is_far_away_comes_live(rows: Rows):
    with RtspServer(keyframe_every=160, join_at=10) as server:
        began = time.monotonic()
        with Watched(server.url()) as camera:
            camera.until_live()
            live_s = time.monotonic() - began
            assert 5.5 < live_s < 15
            assert [state for state, _ in camera.history] == [CameraState.STARTING, CameraState.LIVE]
            assert camera.sent[0].number == 160
    rows.add("RTSP over TCP", "its next key frame is 6 s away", f"live after {live_s:.1f} s, at that frame")


@pytest.mark.idle
@pytest.mark.parametrize(("source_fps", "asked"), [(25.0, 5), (25.0, 7), (10.0, 25), (15.0, 10)])
def test_a_stream_is_sampled_by_its_own_timestamps(source_fps: float, asked: int):
    with RtspServer(fps=source_fps) as server:
        source, grid = opened(server.url()), EvenGrid(asked)
        timings, numbers = grabbed(source, 20)
        source.close()
    times = [timing.time_s for timing in timings]
    assert times == pytest.approx([n / source_fps for n in range(20)], abs=1e-4)
    assert numbers == list(range(numbers[0], numbers[0] + 20))
    taken = [n for n, time_s in enumerate(times) if grid.takes(time_s)]
    points = range(int(times[-1] * asked + 0.01) + 1)
    first = {next(n for n in range(20) if n / source_fps >= point / asked - 1e-3) for point in points}
    assert taken == sorted(first)


@pytest.mark.idle
@pytest.mark.parametrize(
    ("offered", "query", "used"),
    [
        ({"tcp", "udp"}, "", "tcp"),
        ({"udp"}, "", "udp"),
        ({"tcp", "udp"}, "transport=udp", "udp"),
        ({"tcp", "udp"}, "transport=tcp", "tcp"),
    ],
)
def test_tcp_is_tried_before_udp_unless_the_address_says_which(offered: set[str], query: str, used: str, rows: Rows):
    with RtspServer(transports=frozenset(offered)) as server:
        source = opened(server.url(query=query))
        _, numbers = grabbed(source, 20)
        source.close()
        assert server.played == [used]
    assert numbers == list(range(numbers[0], numbers[0] + 20))
    rows.add("RTSP", "servers that speak TCP, UDP or both", "TCP, else UDP, or as `?transport=` says")


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_transport_that_the_server_refuses_is_reported(transport: str):
    other = {"tcp": "udp", "udp": "tcp"}[transport]
    with (
        RtspServer(transports=frozenset({other})) as server,
        pytest.raises(SourceUnavailable, match="cannot be opened: Protocol not supported"),
    ):
        opened(server.url(query=f"transport={transport}"))


@pytest.mark.idle
def test_rtsps_is_spoken_over_tls(tmp_path: Path, rows: Rows):
    with RtspServer(tls=self_signed(tmp_path)) as server, Watched(server.url(), timing=QUICK) as camera:
        camera.until_live()
        server.reset()
        camera.until_down()
        assert camera.until_live() < 10
        server.freeze()
        camera.until_down()
        again_s = camera.until_live()
        assert again_s < 10
    rows.add("RTSPS", "reset, then silent", f"live again {again_s:.1f} s after the silence was reported")


def test_rtsps_over_udp_is_refused_by_name():
    with pytest.raises(SettingsError, match="transport='udp'"):
        SourceUrl.parse("rtsps://gate.example/stream?transport=udp")


@pytest.mark.idle
@pytest.mark.parametrize("scheme", ["Basic", "Digest"])
@pytest.mark.parametrize("password", [SECRET, "p@s/s#1?: é"])
def test_an_account_is_honoured(scheme: str, password: str, rows: Rows):
    with RtspServer(account=Account("viewer", password, scheme)) as server:
        source = opened(server.url(user="viewer", password=quote(password, safe="")))
        assert len(grabbed(source, 3)[1]) == 3
        source.close()
    rows.add("RTSP over TCP", "Basic and Digest accounts, odd characters in the password", "let in")


@pytest.mark.parametrize("scheme", ["Basic", "Digest"])
def test_an_account_over_http_is_honoured_or_refused(scheme: str, rows: Rows):
    with HttpServer() as server:
        server.account = Account("viewer", SECRET, scheme)
        source = opened(server.url(user="viewer", password=SECRET))
        assert len(grabbed(source, 3)[1]) == 3
        source.close()
        with pytest.raises(SourceUnavailable, match="401") as caught:
            opened(server.url(user="viewer", password=f"not-{SECRET}"))
        assert SECRET not in str(caught.value)
    rows.add("MJPEG over HTTP", "Basic and Digest accounts", "let in; a wrong one is a 401, without the password")


def test_a_wrong_account_is_reported_and_no_password_is_shown(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], rows: Rows
):
    caplog.set_level(logging.DEBUG)
    accounts = [(scheme, *account) for scheme in ("Basic", "Digest") for account in (("viewer", SECRET), ("", ""))]
    with ThreadPoolExecutor(len(accounts)) as pool:
        for reported in pool.map(refused, *zip(*accounts, strict=True)):
            assert "401" in reported
            assert SECRET not in reported
    shown = capfd.readouterr()
    assert SECRET not in caplog.text + shown.out + shown.err
    rows.add("RTSP over TCP", "a wrong account", "offline, reported as 401, without the password")


def refused(scheme: str, user: str, password: str) -> str:
    """Return all that is reported of a camera that refuses the account, then sends garbage, and goes away."""
    with RtspServer(account=Account("viewer", "another", scheme)) as server:
        url = server.url(user=user, password=password, query=f"token={SECRET}")
        with Watched(url, timing=QUICK) as camera:
            camera.until(lambda: camera.state is CameraState.OFFLINE)
            server.behaviour.garbage = True
            camera.until(lambda: any("Invalid" in reason for _, reason in camera.history))
            server.go_away()
            camera.until(lambda: any("refused" in reason for _, reason in camera.history))
            return f"{camera.history} {camera.status()}"


def test_a_change_of_resolution_is_followed(rtsp: RtspServer, rows: Rows):
    with Watched(rtsp.url()) as camera:
        camera.until_live()
        rtsp.behaviour.size = (320, 192)
        camera.until(lambda: camera.sent[-1].size == (320, 192))
        rtsp.behaviour.size = (96, 160)
        camera.until(lambda: camera.sent[-1].size == (96, 160))
        assert (camera.status().width, camera.status().height) == (96, 160)
        numbers = [sent.number for sent in camera.sent]
        assert numbers == sorted(set(numbers))
        assert camera.status().reconnects == 0
    rows.add("RTSP over TCP", "its resolution changes", "followed, without opening it again")


@pytest.mark.idle
@pytest.mark.parametrize("shift_s", [3600.0, -60.0, -0.3, 5.0, 40_000.0])
def test_timestamps_that_jump_do_not_change_the_rate(shift_s: float, rows: Rows):
    with RtspServer() as rtsp, Watched(rtsp.url(), fps=12.5) as camera:
        camera.until(lambda: len(camera.sent) > 5)
        rtsp.behaviour.stamp_shift_s = shift_s
        assert_rate(camera, 15, 12.5)
        assert not [state for state, _ in camera.history if state in DOWN]
    rows.add("RTSP over TCP", "timestamps jump, wrap, go back", "the rate stays")


@pytest.mark.idle
def test_timestamps_that_stand_still_are_replaced_by_the_arrival(rows: Rows):
    with RtspServer(frozen_stamps=True) as server, Watched(server.url(), fps=10) as camera:
        camera.until_live()
        assert_rate(camera, 15, 10)
    rows.add("RTSP over TCP", "timestamps stand still", "timed by arrival")


@pytest.mark.idle
@pytest.mark.parametrize("fps", [2.5, 30.0])
def test_mjpeg_is_sampled_by_arrival(fps: float):
    with HttpServer(fps=fps) as server, Watched(server.url()) as camera:
        assert camera.until_live() < 5
        assert_rate(camera, 6, min(fps, 5), fps)


def test_mjpeg_may_change_its_size(rows: Rows):
    with HttpServer(fps=10) as server, Watched(server.url()) as camera:
        camera.until_live()
        server.size = (320, 192)
        camera.until(lambda: camera.sent[-1].size == (320, 192))
        assert camera.status().reconnects == 0
    rows.add("MJPEG over HTTP", "its resolution changes", "followed, without opening it again")


def test_a_snapshot_address_that_closes_each_connection_is_live():
    with HttpServer() as server:
        server.trouble = is_a_snapshot
        with Watched(server.url("snapshot.jpg"), fps=10, timing=QUICK) as camera:
            camera.until(lambda: len(camera.sent) > 5)
            assert {sent.number for sent in camera.sent} == {5}
            assert [state for state, _ in camera.history] == [CameraState.STARTING, CameraState.LIVE]


def assert_rate(camera: Watched, frames: int, asked: float, source_fps: float = 25.0) -> None:
    """Hold the next so many frames to the rate that was asked.

    What is not sampled at all has twice the rate or more: that is counted in the source's own pictures, as a busy
    machine may bring late ones in a burst. What is not timed at all has none.
    """
    first = len(camera.sent)
    camera.until(lambda: len(camera.sent) > first + frames)
    one, other = camera.sent[first], camera.sent[first + frames]
    assert frames * source_fps / (other.number - one.number) < 1.25 * asked
    assert frames / (other.at - one.at) > 0.25 * asked
