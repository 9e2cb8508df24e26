"""RTSP cameras as they really are: refused accounts, odd answers, lost packets, key frames far apart."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from app.cameras import CameraState
from app.cameras.camera import CameraTiming
from app.cameras.ledger import DropReason
from app.cameras.sources import RawFrame, open_source
from app.core.clock import Clock
from app.errors import SourceRefused, SourceUnavailable
from app.settings.source_url import SourceUrl
from tests.support.accounts import Account
from tests.support.h264 import H264, H264_REFRESHED, H265, Codec
from tests.support.http_server import HttpServer
from tests.support.numbered import draw, read
from tests.support.rows import Rows
from tests.support.rtsp_server import RtspServer
from tests.support.watched import Watched

SECRET = "hunter2"
SIZE = (320, 192)
BRISK = CameraTiming(reopen_first_s=0.05, reopen_max_s=0.1)
"""After three refusals a pause of 0.75 to 1.5 s, which doubles."""


def test_a_refused_account_is_tried_three_times_and_then_seldom(rows: Rows):
    pauses: list[float] = []

    def wait(stopping: threading.Event, seconds: float) -> bool:
        pauses.append(seconds)
        return stopping.wait(min(seconds, 0.01))

    with RtspServer(account=Account("viewer", SECRET)) as server:
        url = server.url(user="viewer", password=f"not-{SECRET}")
        with Watched(url, clock=Clock(wait=wait)) as camera:
            camera.until(lambda: len(pauses) >= 8)
            assert camera.state is CameraState.OFFLINE
            assert "401" in camera.status().reason
            assert "it refuses the account 'viewer'" in camera.status().reason
            assert SECRET not in str(camera.history)
    assert max(pauses[:2]) <= 1.0
    assert [pause >= limit for pause, limit in zip(pauses[2:], [30, 60, 120, 240, 300, 300], strict=False)] == [
        True
    ] * 6
    assert max(pauses) <= 600
    rows.add("RTSP", "a refused account", "tried three times, then after 1, 2, 4 … 10 minutes; named as the account's")


@pytest.mark.idle
def test_an_account_that_is_put_right_at_the_camera_is_let_in_at_the_next_try():
    with (
        RtspServer(account=Account("viewer", "another")) as server,
        Watched(server.url(user="viewer", password=SECRET), timing=BRISK) as camera,
    ):
        camera.until(lambda: camera.status().reconnects >= 3)
        server.behaviour.account = Account("viewer", SECRET)
        camera.until_live()


@pytest.mark.idle
def test_a_changed_address_is_tried_at_once():
    with RtspServer(account=Account("viewer", SECRET)) as server:
        with Watched(server.url(user="viewer", password="wrong")) as camera:
            camera.until(lambda: camera.status().reconnects >= 2)
            camera.until(lambda: camera.state is CameraState.OFFLINE)
            began = time.monotonic()
        # A camera whose address is changed is stopped, and another one is started (app/fleet/reconciler.py).
        with Watched(server.url(user="viewer", password=SECRET)) as camera:
            camera.until_live()
            assert time.monotonic() - began < 20


MD5 = Account("viewer", SECRET)
SHA_256 = Account("viewer", SECRET, algorithm="SHA-256")
BASIC = Account("viewer", SECRET, "Basic")


@pytest.mark.parametrize("offers", [(SHA_256,), (MD5, SHA_256), (SHA_256, BASIC)], ids=["alone", "last", "and Basic"])
def test_a_camera_whose_last_digest_is_sha_256_says_so(offers: tuple[Account, ...]):
    with RtspServer(account=SHA_256, offers=offers) as server:
        source = open_source(SourceUrl.parse(server.url(user="viewer", password=SECRET)), 5, Clock())
        with pytest.raises(SourceRefused, match="asks for Digest with SHA-256, which is not supported") as caught:
            source.open()
        assert "the password was not sent" in str(caught.value)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize("offers", [(SHA_256, MD5), (MD5, BASIC), (BASIC, MD5)])
def test_a_camera_that_offers_md5_last_lets_in(offers: tuple[Account, ...], rows: Rows):
    with RtspServer(account=MD5, offers=offers) as server:
        source = open_source(SourceUrl.parse(server.url(user="viewer", password=SECRET)), 5, Clock())
        source.open()
        assert source.grab() is not None
        source.close()
    rows.add("RTSP", "Digest with SHA-256 and then MD5; Digest and Basic", "let in")


def test_a_camera_that_asks_for_an_account_says_that_none_is_named():
    with RtspServer(account=Account("viewer", SECRET)) as server:
        source = open_source(SourceUrl.parse(server.url()), 5, Clock())
        with pytest.raises(SourceRefused, match="asks for an account, and the address names none"):
            source.open()


def test_motion_jpeg_over_http_is_read_with_sha_256(rows: Rows):
    with HttpServer() as server:
        server.account = Account("viewer", SECRET, algorithm="SHA-256")
        source = open_source(SourceUrl.parse(server.url(user="viewer", password=SECRET)), 5, Clock())
        source.open()
        assert source.grab() is not None
        assert read(source.retrieve().image) == 0
        source.close()
    rows.add("RTSP", "Digest with SHA-256 only, or last", "the reason: not supported, and the password was not sent")
    rows.add("MJPEG over HTTP", "Digest with SHA-256", "let in")


def test_an_answer_with_udp_to_a_setup_over_tcp_is_tried_over_udp(rows: Rows):
    with RtspServer(answers_udp=True) as server:
        source = open_source(SourceUrl.parse(server.url()), 5, Clock())
        source.open()
        numbers = []
        for _ in range(10):
            assert source.grab() is not None
            numbers.append(read(source.retrieve().image))
        source.close()
        assert server.played == ["udp"]
        assert numbers == list(range(numbers[0], numbers[0] + 10))
        refused = open_source(SourceUrl.parse(server.url(query="transport=tcp")), 5, Clock())
        with pytest.raises(SourceUnavailable, match="Invalid data"):
            refused.open()
    rows.add("RTSP", "a SETUP over TCP is answered with UDP", "tried over UDP")


# Of so many packets of each codec one is lost: most key frames come whole, and most frames between them do not.
LOSES_EVERY = {H264: 41, H265: 97}


@pytest.mark.idle
@pytest.mark.parametrize("codec", LOSES_EVERY, ids=lambda codec: codec.name)
def test_frames_that_lost_packets_are_known_to_be_damaged(codec: Codec):
    with RtspServer(codec=codec, size=SIZE, most_bytes=200, loses_every=LOSES_EVERY[codec]) as server:
        source = open_source(SourceUrl.parse(server.url(query="transport=udp")), 25, Clock())
        source.open()
        whole, damaged, wrong, first, times = 0, 0, 0, None, []
        for _ in range(120):
            timing = source.grab()
            assert timing is not None
            times.append(timing.time_s)
            raw = source.retrieve()
            image = pixels(raw)
            first = read(raw.image) if first is None else first
            drawn = draw(first + round(timing.time_s * 25), *SIZE)
            is_right = image is not None and np.abs(image.astype(int) - drawn).mean() < 4
            damaged += raw.damaged
            whole += not raw.damaged
            wrong += not is_right
            assert raw.damaged or is_right
        source.close()
    assert whole > 10
    assert damaged > 10
    assert wrong > 0
    # A picture of which nothing is left is counted as well: but for those that were lost as a whole there is no gap.
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) < 0.2


@pytest.mark.idle
def test_a_camera_without_key_frames_is_whole_again_once_its_pictures_were_refreshed(rows: Rows):
    with RtspServer(codec=H264_REFRESHED, size=SIZE, fps=100.0, most_bytes=200, loses_every=151) as server:
        source = open_source(SourceUrl.parse(server.url(query="transport=udp")), 100, Clock())
        source.open()
        damaged, first = [], None
        while damaged.count(True) == 0 or damaged[-1]:
            timing = source.grab()
            assert timing is not None
            assert len(damaged) < 600
            raw = source.retrieve()
            damaged.append(raw.damaged)
            first = read(raw.image) if first is None else first
            if not raw.damaged:
                assert np.abs(raw.image.astype(int) - draw(first + round(timing.time_s * 100), *SIZE)).mean() < 4
        source.close()
    assert 25 < damaged.count(True) < 75
    rows.add("RTSP over UDP", "packets are lost, no key frames (intra refresh)", "whole again after one refresh")


def pixels(raw: RawFrame) -> NDArray[np.uint8] | None:
    """Return what was decoded; FFmpeg's decoder of H.265 returns nothing for a picture that refers to a lost one."""
    try:
        return raw.image
    except SourceUnavailable:
        return None


@pytest.mark.idle
@pytest.mark.parametrize("codec", LOSES_EVERY, ids=lambda codec: codec.name)
def test_damaged_frames_are_counted_and_not_sent(codec: Codec, rows: Rows):
    with (
        RtspServer(codec=codec, size=SIZE, most_bytes=200, loses_every=LOSES_EVERY[codec]) as server,
        Watched(server.url(query="transport=udp"), fps=25) as camera,
    ):
        camera.until(lambda: camera.status().ledger.dropped[DropReason.DAMAGED] > 10)
        camera.until(lambda: len(camera.sent) > 10)
        numbers = [sent.number for sent in camera.sent]
        assert numbers == sorted(set(numbers))  # a frame decoded from what is left shows an earlier number again
        assert camera.status().ledger.balanced
        assert camera.state is CameraState.LIVE
    rows.add(
        "RTSP over UDP",
        "packets are lost, H.264 and H.265",
        "frames up to the next key frame counted `damaged`, not sent",
    )


@pytest.mark.idle
def test_a_camera_of_h265_is_live_while_nothing_but_damaged_frames_comes():
    """One lost packet, and the next key frame 24 s away: bytes come, so that it is neither silent nor broken."""
    with (
        RtspServer(codec=H265, size=SIZE, keyframe_every=600, loses_every=97) as server,
        Watched(server.url(query="transport=udp"), fps=25, stall_s=1.0) as camera,
    ):
        camera.until_live()
        camera.until(lambda: camera.status().ledger.dropped[DropReason.DAMAGED] > 50)
        assert [state for state, _ in camera.history] == [CameraState.STARTING, CameraState.LIVE]


@pytest.mark.slow
@pytest.mark.idle
@pytest.mark.parametrize("codec", [H264, H265], ids=lambda codec: codec.name)
def test_a_stream_whose_next_key_frame_is_60_s_away_is_live_at_it(codec: Codec, rows: Rows):
    with RtspServer(codec=codec, keyframe_every=1525, join_at=25) as server, Watched(server.url()) as camera:
        camera.until_live(90)
        assert [state for state, _ in camera.history] == [CameraState.STARTING, CameraState.LIVE]
        assert camera.sent[0].number == 1525
    rows.add("RTSP over TCP", "its next key frame is 60 s away", "live at that frame")
