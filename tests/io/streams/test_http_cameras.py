"""HTTP cameras as they really are: Motion JPEG of cheap cameras, snapshot addresses, HLS and FLV."""

from __future__ import annotations

import gzip
import itertools
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.cameras import CameraState
from app.cameras.camera import CameraTiming
from app.cameras.ledger import DropReason
from app.cameras.sources import Source, open_source
from app.cameras.sources.jpeg_splitter import JpegSplitter
from app.core.clock import Clock
from app.errors import SourceRefused, SourceUnavailable
from app.settings.source_url import SourceUrl
from tests.support.accounts import Account
from tests.support.http_cameras import (
    PLAYLIST,
    Answer,
    Hls,
    OddMjpeg,
    Snapshots,
    flv,
    flv_with_sound_first,
    jpeg,
    sends,
)
from tests.support.http_server import HttpServer, _Request
from tests.support.numbered import draw, read
from tests.support.rows import Rows
from tests.support.watched import DOWN, Watched

QUICK = CameraTiming(reopen_first_s=0.1, reopen_max_s=0.2)


def numbers_of(source: Source, frames: int) -> list[int]:
    numbers = []
    for _ in range(frames):
        assert source.grab() is not None
        numbers.append(read(source.retrieve().image))
    return numbers


def with_type(media_type: str) -> Callable[[bytes], bytes]:
    head = f"--frame\r\nContent-Type: {media_type}\r\n".encode()
    return lambda data: head + f"Content-Length: {len(data)}\r\n\r\n".encode() + data + b"\r\n"


def without_end(number: int) -> bytes:
    return jpeg(number).removesuffix(b"\xff\xd9")


def with_thumbnail(number: int) -> bytes:
    """A picture that holds another one in its EXIF segment, as cameras with a preview send it."""
    thumbnail = b"Exif\0\0" + jpeg(9)
    return b"\xff\xd8\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + jpeg(number)[2:]


def encoded(number: int, suffix: str, *, grey: bool = False) -> bytes:
    image = draw(number)
    return cv2.imencode(f".{suffix}", image[:, :, 0] if grey else image)[1].tobytes()


def progressive(number: int) -> bytes:
    return cv2.imencode(".jpg", draw(number), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()


ODD = {
    "part type image/jpg": OddMjpeg(with_type("image/jpg")),
    "part type with a size": OddMjpeg(with_type("image/jpeg;size=5000")),
    "part type with a charset": OddMjpeg(with_type("image/jpeg; charset=utf-8")),
    "no boundary before the first part": OddMjpeg(
        lambda data: b"Content-Type: image/jpeg\r\n\r\n" + data + b"\r\n--frame\r\n"
    ),
    "boundary lines without dashes": OddMjpeg(
        lambda data: b"frame\r\nContent-Type: image/jpeg\r\n\r\n" + data + b"\r\n"
    ),
    "no length": OddMjpeg(lambda data: b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + data + b"\r\n"),
    "a length that is too small": OddMjpeg(
        lambda data: b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 100\r\n\r\n" + data + b"\r\n"
    ),
    "a length that is too large": OddMjpeg(
        lambda data: b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 999999\r\n\r\n" + data + b"\r\n"
    ),
    "lines that end in LF only": OddMjpeg(
        lambda data: f"--frame\nContent-Type: image/jpeg\nContent-Length: {len(data)}\n\n".encode() + data + b"\n"
    ),
    "text between the pictures": OddMjpeg(
        lambda data: (
            b"--x\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nmotion=on\r\n"
            b"--x\r\nContent-Type: image/jpeg\r\n\r\n" + data + b"\r\n"
        ),
        media_type="multipart/mixed; boundary=x",
    ),
    "grey pictures": OddMjpeg(with_type("image/jpeg"), picture=lambda number: encoded(number, "jpg", grey=True)),
    "no part headers at all": OddMjpeg(lambda data: data),
    "no part headers and no type": OddMjpeg(lambda data: data, media_type="application/octet-stream"),
    "parts without the type of parts": OddMjpeg(with_type("image/jpeg"), media_type="text/plain"),
    "pictures without an end": OddMjpeg(with_type("image/jpeg"), picture=without_end),
    "pictures with a thumbnail": OddMjpeg(lambda data: data, picture=with_thumbnail),
    "progressive pictures": OddMjpeg(lambda data: data + b"\r\n--frame\r\n\r\n", picture=progressive),
}


@pytest.mark.parametrize("name", ODD)
def test_motion_jpeg_is_known_by_its_bytes(name: str, rows: Rows):
    with HttpServer() as server:
        server.answers["/stream"] = ODD[name]
        source = open_source(SourceUrl.parse(server.url("stream")), 5, Clock())
        source.open()
        assert source.live
        numbers = numbers_of(source, 10)
        raw = source.retrieve()
        source.close()
    assert numbers == list(range(10))
    assert raw.jpeg is not None
    assert raw.jpeg().startswith(b"\xff\xd8\xff")
    rows.add("MJPEG over HTTP", f"as cheap cameras send it: {len(ODD)} ways to wrap a picture", "every picture read")


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_pictures_are_found_however_their_bytes_are_cut_into_packets(step: int):
    parts = [with_type("image/jpeg")(jpeg(1)), with_thumbnail(2), b"\xff\xd8\xffnoise", progressive(3), b"\0" * 5000]
    data = b"".join([*parts, jpeg(4)])
    splitter = JpegSplitter()
    pictures = [picture for at in range(0, len(data), step) for picture in splitter.feed(data[at : at + step])]
    decoded = [cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR) for picture in pictures]
    assert [read(image) for image in decoded] == [1, 2, 3, 4]
    assert all(picture.whole for picture in pictures)


def test_a_picture_that_breaks_off_is_counted_damaged_and_not_sent(rows: Rows):
    def every_third_cut(number: int) -> bytes:
        return jpeg(number) if number % 3 else jpeg(number)[:-200]

    with HttpServer() as server:
        server.answers["/stream"] = OddMjpeg(lambda data: data, picture=every_third_cut)
        with Watched(server.url("stream"), fps=50) as camera:
            camera.until(lambda: camera.status().ledger.dropped[DropReason.DAMAGED] > 3)
            camera.until(lambda: len(camera.sent) > 3)
            assert all(sent.number % 3 for sent in camera.sent)
            assert camera.status().ledger.balanced
    rows.add("MJPEG over HTTP", "pictures that break off", "counted `damaged`, not sent")


@pytest.mark.idle
@pytest.mark.parametrize(
    ("every_s", "stall_s", "too_short_s"), [(2.0, 8.0, 1.0), pytest.param(8.0, 20.0, None, marks=pytest.mark.slow)]
)
def test_a_stream_with_a_picture_now_and_then_is_live_by_its_stall_s(
    every_s: float, stall_s: float, too_short_s: float | None, rows: Rows
):
    with HttpServer() as server:
        server.answers["/stream"] = OddMjpeg(with_type("image/jpeg"), every_s=every_s)
        url = server.url("stream")
        with Watched(url, stall_s=stall_s) as slow, Watched(url, stall_s=too_short_s) as usual:
            slow.until(lambda: len(slow.sent) > 2)
            assert [state for state, _ in slow.history] == [CameraState.STARTING, CameraState.LIVE]
            assert [sent.number for sent in slow.sent] == list(range(len(slow.sent)))
            assert CameraState.STALLED in [state for state, _ in usual.history]
    without = (
        "live; without `stall_s` it stalls"
        if too_short_s is None
        else f"live; with `stall_s: {too_short_s:g}` it stalls"
    )
    rows.add("MJPEG over HTTP", f"one picture every {every_s:g} s, `stall_s: {stall_s:g}`", without)


def test_a_snapshot_address_is_asked_at_the_cameras_rate_over_one_connection(rows: Rows):
    with keeping_alive() as server:
        snapshots = server.answers["/snapshot.jpg"] = Snapshots()
        with Watched(server.url("snapshot.jpg"), fps=4) as camera:
            camera.until(lambda: len(snapshots.asked) > 8)
            assert camera.state is CameraState.LIVE
            gaps = [b - a for a, b in itertools.pairwise(snapshots.asked[1:])]
            assert len(gaps) / sum(gaps) < 4.4
            camera.until(lambda: len(camera.sent) > 7)
            numbers = [sent.number for sent in camera.sent]
            assert numbers == sorted(set(numbers))
            assert camera.status().reconnects == 0
        assert server.connected == 1
    rows.add("JPEG snapshots over HTTP", "one picture for each request", "asked at the camera's rate, one connection")


@pytest.mark.parametrize("validator", ["ETag", "Last-Modified"])
def test_a_snapshot_that_has_not_changed_is_not_sent_again(validator: str, rows: Rows):
    with keeping_alive() as server:
        snapshots = server.answers["/snapshot.jpg"] = Snapshots(every_s=0.4, validator=validator)
        with Watched(server.url("snapshot.jpg"), fps=20) as camera:
            camera.until(lambda: len(camera.sent) > 2)
            numbers = [sent.number for sent in camera.sent]
            assert numbers == sorted(set(numbers))
            assert snapshots.conditional > snapshots.sent
            assert [state for state, _ in camera.history if state in DOWN] == []
    rows.add("JPEG snapshots over HTTP", "ETag and Last-Modified", "asked with conditions; 304 is no new frame")


@pytest.mark.parametrize("scheme", ["Basic", "Digest"])
def test_a_snapshot_address_may_ask_for_an_account(scheme: str):
    with keeping_alive() as server:
        server.account = Account("viewer", "p@ss", scheme)
        server.answers["/snapshot.jpg"] = Snapshots()
        source = open_source(SourceUrl.parse(server.url("snapshot.jpg", "viewer", "p%40ss")), 20, Clock())
        source.open()
        assert numbers_of(source, 5) == list(range(5))
        source.close()
        wrong = open_source(SourceUrl.parse(server.url("snapshot.jpg", "viewer", "wrong")), 20, Clock())
        with pytest.raises(SourceRefused, match="refuses the account 'viewer'") as caught:
            wrong.open()
        assert "wrong" not in str(caught.value)


def test_a_snapshot_address_that_fails_is_reported_and_asked_again(rows: Rows):
    with keeping_alive() as server:
        server.answers["/snapshot.jpg"] = Snapshots()
        with Watched(server.url("snapshot.jpg"), timing=QUICK) as camera:
            camera.until_live()
            server.go_away()
            camera.until_down()
            assert all(reason for state, reason in camera.history if state in DOWN)
            server.listen()
            assert camera.until_live() < 10
    rows.add("JPEG snapshots over HTTP", "its server goes away and returns", "reported; live again")


SNAPSHOTS: dict[str, Callable[[int], Answer]] = {
    "PNG": lambda number: sends(encoded(number, "png"), "image/png"),
    "WebP": lambda number: sends(encoded(number, "webp"), "image/webp"),
    "BMP": lambda number: sends(encoded(number, "bmp"), "image/bmp"),
    "TIFF": lambda number: sends(encoded(number, "tiff"), "image/tiff"),
    "no type": lambda number: sends(jpeg(number)),
    "the type of a page": lambda number: sends(jpeg(number), "text/html"),
    "compressed with gzip": lambda number: sends(gzip.compress(jpeg(number)), "image/jpeg", Content_Encoding="gzip"),
    "an empty line before it": lambda number: sends(b"\r\n" + jpeg(number), "image/jpeg"),
    "zeros after it": lambda number: sends(jpeg(number) + bytes(500), "image/jpeg"),
}


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_a_snapshot_is_known_by_its_bytes(name: str, rows: Rows):
    numbers = itertools.count()
    with keeping_alive() as server:
        server.answers["/snapshot"] = lambda request: SNAPSHOTS[name](next(numbers))(request)
        source = open_source(SourceUrl.parse(server.url("snapshot")), 50, Clock())
        source.open()
        assert numbers_of(source, 4) == [0, 1, 2, 3]
        source.close()
        assert server.connected == 1
    rows.add("JPEG snapshots over HTTP", f"{len(SNAPSHOTS)} forms: {', '.join(SNAPSHOTS)}", "every picture read")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (gzip.compress(jpeg(1))[:-300], "ended"),
        (b"<html>log in</html>", "Invalid data"),
        (b"", "Invalid data"),
    ],
)
def test_what_is_no_whole_picture_is_reported(data: bytes, reason: str):
    with keeping_alive() as server:
        encoding = {"Content_Encoding": "gzip"} if data.startswith(b"\x1f\x8b") else {}
        server.answers["/snapshot"] = sends(data, "image/jpeg", **encoding)
        source = open_source(SourceUrl.parse(server.url("snapshot")), 50, Clock())
        with pytest.raises(SourceUnavailable, match=reason):
            source.open()
        source.close()


def redirects(path: str) -> Answer:
    def answer(request: _Request) -> None:
        request.send_response(302)
        request.send_header("Location", path)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


PLAYLISTS: dict[str, Callable[[Hls], bytes]] = {
    "discontinuities": lambda hls: hls.text(before_each="#EXT-X-DISCONTINUITY").encode(),
    "the date of each segment": lambda hls: hls.text(
        before_each="#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:{number:02}.000Z"
    ).encode(),
    "encrypted segments": lambda hls: (
        hls.text('#EXT-X-KEY:METHOD=AES-128,URI="locked/key?a=b"').replace("\nsegment", "\nlocked/segment").encode()
    ),
    "lines that end in CR and LF": lambda hls: hls.text().replace("\n", "\r\n").encode(),
    "compressed with gzip": lambda hls: gzip.compress(hls.text().encode()),
}


@pytest.mark.idle
@pytest.mark.parametrize("name", [*PLAYLISTS, "a master playlist", "a redirect"])
def test_a_live_playlist_may_have_any_form(tmp_path: Path, name: str, rows: Rows):
    hls = Hls(tmp_path, segment_s=1, fps=10, segments=30)
    with HttpServer() as server:
        hls.serve_from(server)
        path = "form.m3u8"
        if name in PLAYLISTS:
            compressed = {"Content_Encoding": "gzip"} if "gzip" in name else {}
            server.answers["/form.m3u8"] = lambda request: sends(PLAYLISTS[name](hls), PLAYLIST, **compressed)(request)
        elif name == "a redirect":
            server.answers["/form.m3u8"] = redirects("/live.m3u8?session=1&t=a%2Fb")
        else:
            server.answers["/form.m3u8"] = sends(
                b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9000,RESOLUTION=160x96\nlive.m3u8?session=1&t=a%2Fb\n", PLAYLIST
            )
        source = open_source(SourceUrl.parse(server.url(path)), 10, Clock())
        source.open()
        numbers = numbers_of(source, 25)
        source.close()
    # A machine that is late misses a segment as a whole: it is no longer listed.
    assert all(later - earlier in (1, 11, 21) for earlier, later in itertools.pairwise(numbers))
    rows.add("HLS", f"a live playlist with {', '.join(PLAYLISTS)}; a master playlist, a redirect", "every picture read")


@pytest.mark.idle
@pytest.mark.parametrize("segment_s", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_a_live_playlist_is_paced_by_its_timestamps(tmp_path: Path, segment_s: int, rows: Rows):
    fps = 10
    hls = Hls(tmp_path, segment_s=segment_s, fps=fps, segments=12)
    with HttpServer() as server:
        hls.serve_from(server)
        with Watched(server.url("live.m3u8"), fps=5) as camera:
            camera.until_live()
            first, sampled = len(camera.sent), camera.status().ledger.sampled
            camera.until(lambda: len(camera.sent) > first + 5 * (segment_s + 4))
            sent, sampled = camera.sent[first:], camera.status().ledger.sampled - sampled
            assert [state for state, _ in camera.history if state in DOWN] == []
            gaps = [b.at - a.at for a, b in itertools.pairwise(sent)]
            assert max(gaps) < max(1.5, segment_s / 2)
            shown_s = (sent[-1].number - sent[0].number) / fps
            # A camera that was late may catch up by the segment that it has already.
            elapsed_s = sent[-1].at - sent[0].at
            assert shown_s == pytest.approx(elapsed_s, abs=segment_s + 0.25 * elapsed_s)
            assert sampled / shown_s == pytest.approx(5, rel=0.1)  # a busy machine may leave one out that was sampled
    rows.add("HLS", f"a live playlist, segments of {segment_s} s", "paced by its timestamps, the rate as asked")


@pytest.mark.idle
@pytest.mark.parametrize("fps", [1, 5])
def test_flv_of_a_low_rate_is_live_whatever_its_header_says_of_sound(fps: int, rows: Rows):
    with HttpServer() as server:
        server.answers["/live.flv"] = flv(fps)
        began = time.monotonic()
        with Watched(server.url("live.flv"), fps=fps) as camera:
            camera.until(lambda: len(camera.sent) > 4)
            assert time.monotonic() - began < 4 + 10 / fps
            numbers = [sent.number for sent in camera.sent]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            assert [state for state, _ in camera.history] == [CameraState.STARTING, CameraState.LIVE]
    rows.add("FLV over HTTP", "a low rate, sound promised and not sent", "live at its first pictures")


@pytest.mark.idle
def test_flv_whose_sound_comes_before_its_pictures_is_live():
    with HttpServer() as server:
        server.answers["/live.flv"] = flv_with_sound_first(5)
        with Watched(server.url("live.flv")) as camera:
            camera.until(lambda: len(camera.sent) > 4)
            assert camera.sent[0].number == 0
            assert [state for state, _ in camera.history] == [CameraState.STARTING, CameraState.LIVE]


def keeping_alive() -> HttpServer:
    server = HttpServer()
    server.keeps_alive = True
    return server
