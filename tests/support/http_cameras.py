"""What real HTTP cameras answer: odd Motion JPEG, snapshots, HLS in segments, FLV whose header promises sound."""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import cv2
import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.support.http_server import HttpServer, _Request
from tests.support.numbered import HEIGHT, WIDTH, draw

Answer = Callable[[_Request], None]
PLAYLIST = "application/vnd.apple.mpegurl"
_KEY = bytes(range(16))


def jpeg(number: int) -> bytes:
    return cv2.imencode(".jpg", draw(number))[1].tobytes()


class OddMjpeg:
    """Motion JPEG whose parts are wrapped as ``part`` says."""

    def __init__(
        self,
        part: Callable[[bytes], bytes],
        *,
        media_type: str = "multipart/x-mixed-replace; boundary=frame",
        every_s: float = 0.02,
        picture: Callable[[int], bytes] = jpeg,
    ) -> None:
        self._part = part
        self._media_type = media_type
        self._every_s = every_s
        self._picture = picture

    def __call__(self, request: _Request) -> None:
        request.send_response(200)
        request.send_header("Content-Type", self._media_type)
        request.end_headers()
        for number in itertools.count():
            request.wfile.write(self._part(self._picture(number)))
            if request.cut.wait(self._every_s) or request.home.over.is_set():
                return


class Snapshots:
    """Answers each request with one picture, whose number rises every ``every_s``; knows ETag and Last-Modified."""

    def __init__(self, every_s: float = 0.0, validator: str = "ETag") -> None:
        self._every_s = every_s
        self._validator = validator
        self._began = time.monotonic()
        self.asked: list[float] = []
        """The monotonic time of every request."""
        self.conditional = 0
        """Requests that named a validator."""
        self.sent = 0
        """Pictures that were sent."""

    def __call__(self, request: _Request) -> None:
        self.asked.append(time.monotonic())
        passed_s = time.monotonic() - self._began
        number = int(passed_s / self._every_s) if self._every_s else len(self.asked) - 1
        named = request.headers.get("If-None-Match" if self._validator == "ETag" else "If-Modified-Since")
        value = (
            f'"{number}"'
            if self._validator == "ETag"
            else f"Thu, 01 Jan 2026 00:{number // 60:02}:{number % 60:02} GMT"
        )
        self.conditional += named is not None
        if self._every_s and named == value:
            request.send_response(304)
            request.end_headers()
            return
        data = jpeg(number)
        self.sent += 1
        request.send_response(200)
        request.send_header("Content-Type", "image/jpeg")
        request.send_header("Content-Length", str(len(data)))
        if self._every_s:
            request.send_header(self._validator, value)
        request.end_headers()
        request.wfile.write(data)


class Hls:
    """A live playlist over segments that exist already: of each, it is listed from the moment at which it is over."""

    def __init__(self, folder: Path, *, segment_s: int, fps: int, segments: int, listed: int = 3) -> None:
        self.folder = folder
        self._segment_s = segment_s
        self._listed = listed
        self._segments = segments
        self._began = time.monotonic()
        options = {"hls_time": str(segment_s), "hls_list_size": "0", "hls_segment_filename": str(folder / "s%d.ts")}
        with av.open(str(folder / "made.m3u8"), "w", format="hls", options=options) as container:
            stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "tune": "zerolatency"})
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.codec_context.gop_size = segment_s * fps
            for number in range(segments * segment_s * fps):
                frame = av.VideoFrame.from_ndarray(draw(number), format="bgr24")
                frame.pts, frame.time_base = number, Fraction(1, fps)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())

    def serve_from(self, server: HttpServer) -> None:
        """Begin the stream, with ``listed`` segments in its past."""
        self._began = time.monotonic()
        server.answers["/live.m3u8"] = self._playlist
        for number in range(self._segments):
            data = (self.folder / f"s{number}.ts").read_bytes()
            # The name of a segment has no suffix that FFmpeg knows.
            server.answers[f"/segment/{number}"] = sends(data, "video/mp2t")
            server.answers[f"/locked/segment/{number}"] = sends(_encrypted(data, number), "video/mp2t")
        server.answers["/locked/key"] = sends(_KEY, "application/octet-stream")

    def text(self, *before: str, before_each: str = "") -> str:
        """Return the playlist of now, with lines before its segments, and a line before each of them."""
        made = min(self._segments, self._listed + math.floor((time.monotonic() - self._began) / self._segment_s))
        first = max(0, made - self._listed)
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{self._segment_s}"]
        lines += [f"#EXT-X-MEDIA-SEQUENCE:{first}", *before]
        for number in range(first, made):
            lines += [before_each.format(number=number)] if before_each else []
            lines += [f"#EXTINF:{self._segment_s:.3f},", f"segment/{number}?key=x"]
        return "\n".join([*lines, ""])

    def _playlist(self, request: _Request) -> None:
        sends(self.text().encode(), PLAYLIST)(request)


class _PatchedFlv:
    """Writes FLV to a client as it is made; its header promises sound, whether there is some or not."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._is_begun = False

    def write(self, data: bytes) -> int:
        if not self._is_begun:
            self._is_begun = True
            data = data[:4] + bytes([data[4] | 4]) + data[5:]
        self._file.write(data)
        return len(data)


def flv(fps: int) -> Answer:
    """Return what sends HTTP-FLV without sound, at a low rate."""

    def answer(request: _Request) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "video/x-flv")
        request.end_headers()
        out = _PatchedFlv(request.wfile)
        options = {"flvflags": "no_duration_filesize", "flush_packets": "1"}
        with contextlib.suppress(av.FFmpegError), av.open(out, "w", format="flv", options=options) as container:
            stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "tune": "zerolatency"})
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.codec_context.gop_size = 10 * fps
            began = time.monotonic()
            for number in itertools.count():
                if request.cut.wait(max(0.0, began + number / fps - time.monotonic())) or request.home.over.is_set():
                    return
                frame = av.VideoFrame.from_ndarray(draw(number), format="bgr24")
                frame.pts, frame.time_base = number, Fraction(1, fps)
                container.mux(stream.encode(frame))

    return answer


def flv_with_sound_first(fps: int) -> Answer:
    """Return what sends HTTP-FLV whose sound begins a second before its pictures, and which describes neither."""
    whole = io.BytesIO()
    with av.open(
        _Unnamed(whole), "w", format="flv", options={"flvflags": "no_metadata+no_duration_filesize"}
    ) as container:
        sound = container.add_stream("aac", rate=44_100, layout="mono")
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = 100 * fps
        samples = 44_100 // fps
        for number in range(30 * fps):
            audio = av.AudioFrame.from_ndarray(np.zeros((1, samples), np.float32), format="fltp", layout="mono")
            audio.sample_rate, audio.pts, audio.time_base = 44_100, number * samples, Fraction(1, 44_100)
            container.mux(sound.encode(audio))
            frame = av.VideoFrame.from_ndarray(draw(number), format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
    data = whole.getvalue()
    tags, at = [], 13
    while at < len(data):
        size = 11 + int.from_bytes(data[at + 1 : at + 4], "big") + 4
        is_picture = data[at] == 9
        shown_ms = int.from_bytes(data[at + 4 : at + 7], "big") + 1000 * is_picture
        tags.append((shown_ms, data[at : at + size]))
        at += size
    tags.sort(key=lambda tag: tag[0])

    def answer(request: _Request) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "video/x-flv")
        request.end_headers()
        request.wfile.write(data[:13])
        began = time.monotonic()
        for shown_ms, tag in tags:
            if request.cut.wait(max(0.0, began + shown_ms / 1000 - time.monotonic())) or request.home.over.is_set():
                return
            request.wfile.write(tag)

    return answer


class _Unnamed:
    """A file to which one can only write."""

    def __init__(self, file: io.BytesIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        return self._file.write(data)


def sends(data: bytes, media_type: str = "", **headers: str) -> Answer:
    """Return what answers with these bytes; an underscore in a header's name stands for a hyphen."""

    def answer(request: _Request) -> None:
        request.send_response(200)
        if media_type:
            request.send_header("Content-Type", media_type)
        request.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(data)

    return answer


def _encrypted(segment: bytes, number: int) -> bytes:
    """Encrypt a segment as ``METHOD=AES-128`` without an IV has it (RFC 8216, 5.2)."""
    padding = 16 - len(segment) % 16
    encryptor = Cipher(algorithms.AES(_KEY), modes.CBC(number.to_bytes(16, "big"))).encryptor()
    return encryptor.update(segment + bytes([padding]) * padding) + encryptor.finalize()
