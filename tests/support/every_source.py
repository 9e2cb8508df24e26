"""Sixteen real cameras at once: of each sort that users have one, served by this process until it ends."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np

from tests.support.accounts import Account
from tests.support.h264 import H265
from tests.support.http_cameras import Hls, OddMjpeg, Snapshots, flv
from tests.support.http_server import HttpServer
from tests.support.numbered import draw
from tests.support.recordings import stamps_at, write_recording
from tests.support.rtsp_server import RtspServer

PASSWORD = "p@s/s#1?: é"
_LASTS_S = 240
"""The live playlist and the recordings have pictures for so long, without showing one twice."""

_AHEAD = 40
"""So many pictures the folder has at the start: its end is not reached, so that none is shown again."""


@dataclass(frozen=True)
class SourceSort:
    """One sort of camera: what it is, its address and what its entry in a cameras file says besides."""

    what: str
    url: str
    fields: Mapping[str, float] = field(default_factory=dict)


@contextlib.contextmanager
def every_source(folder: Path) -> Iterator[dict[str, SourceSort]]:
    """Serve sixteen cameras whose pictures carry rising numbers; by camera id."""
    with contextlib.ExitStack() as stack:
        yield {**_rtsp(stack), **_http(stack, folder), **_files(stack, folder)}


def _rtsp(stack: contextlib.ExitStack) -> dict[str, SourceSort]:
    def served(**behaviour: object) -> RtspServer:
        return stack.enter_context(RtspServer(**{"fps": 10.0, **behaviour}))

    plain = served()
    lossy = served(codec=H265, size=(320, 192), most_bytes=200, loses_every=97)
    guarded = served(account=Account("viewer", PASSWORD), sound=True)
    odd = served(answers_udp=True)
    rare = served(keyframe_every=280, join_at=10)
    return {
        "rtsp-tcp": SourceSort("RTSP over TCP, the scheme in upper case", plain.url().replace("rtsp:", "RTSP:")),
        "rtsp-udp": SourceSort("RTSP over UDP, H.265, packets are lost", lossy.url(query="transport=udp")),
        "rtsp-account": SourceSort("RTSP with Digest", guarded.url(user="viewer", password=quote(PASSWORD, safe=""))),
        "rtsp-setup": SourceSort("RTSP, a SETUP over TCP answered with UDP", odd.url()),
        "rtsp-keyframes": SourceSort("RTSP, its first key frame after 27 s", rare.url()),
    }


def _http(stack: contextlib.ExitStack, folder: Path) -> dict[str, SourceSort]:
    server = stack.enter_context(HttpServer(fps=10))
    guarded = stack.enter_context(HttpServer(fps=10))
    guarded.account = Account("viewer", PASSWORD, algorithm="SHA-256")
    keeping = HttpServer()
    keeping.keeps_alive = True
    stack.enter_context(keeping)
    head = b"Content-Type: image/jpg;size=5000\r\n\r\n"
    server.answers["/odd"] = OddMjpeg(lambda data: b"frame\r\n" + head + data + b"\r\n", every_s=0.1)
    server.answers["/slow"] = OddMjpeg(lambda data: b"--frame\r\n" + head + data + b"\r\n", every_s=8.0)
    server.answers["/live.flv"] = flv(5)
    keeping.answers["/snapshot.jpg"] = Snapshots(every_s=1.0)
    playlist = folder / "hls"
    playlist.mkdir()
    Hls(playlist, segment_s=6, fps=5, segments=_LASTS_S // 6).serve_from(server)
    return {
        "mjpeg": SourceSort("MJPEG, boundaries without dashes, image/jpg;size=5000, no length", server.url("odd")),
        "mjpeg-account": SourceSort(
            "MJPEG with SHA-256 Digest", guarded.url(user="viewer", password=quote(PASSWORD, safe=""))
        ),
        "mjpeg-slow": SourceSort("MJPEG, a picture every 8 s, stall_s: 20", server.url("slow"), {"stall_s": 20}),
        "snapshots": SourceSort("a snapshot address with ETag", keeping.url("snapshot.jpg")),
        "hls": SourceSort("HLS, segments of 6 s", server.url("live.m3u8")),
        "flv": SourceSort("HTTP-FLV, its header promises sound", server.url("live.flv")),
        "mpegts": SourceSort("MPEG-TS over HTTP with sound", server.url("live.ts")),
    }


def _files(stack: contextlib.ExitStack, folder: Path) -> dict[str, SourceSort]:
    stamps = stamps_at(Fraction(5), _LASTS_S)
    colon = write_recording(folder / "gate:12:30.mp4", stamps)
    percent = write_recording(folder / "yard 100%.mp4", stamps)
    growing, heat = folder / "growing", folder / "heat.png"
    growing.mkdir()

    def add(number: int) -> None:
        _replace(growing / f"{number}.jpg", draw(number))

    def rewrite(number: int) -> None:
        # A thermal camera: what it sees lies between 7000 and 7500 of 65535.
        _replace(heat, (7000 + draw(number)[:, :, 0].astype(np.uint16) * 500 // 255).astype(np.uint16))

    for number in range(1, _AHEAD):
        add(number)
    stack.enter_context(_repeating(add, _AHEAD))
    stack.enter_context(_repeating(rewrite, 1))
    return {
        "colon": SourceSort("a recording with colons in its name", str(colon)),
        "localhost": SourceSort("FILE://localhost/, a per cent sign", f"FILE://localhost{quote(str(percent))}"),
        "folder": SourceSort("a folder to which pictures are added", str(growing)),
        "thermal": SourceSort("a picture of 16 bits that is rewritten", str(heat)),
    }


def _replace(file: Path, image: np.ndarray) -> None:
    """Write a picture as a whole, as FTP servers and cameras do that rename it when it is there."""
    part = file.with_name(f".{file.name}")
    part.write_bytes(cv2.imencode(file.suffix, image)[1].tobytes())
    part.replace(file)


@contextlib.contextmanager
def _repeating(act: Callable[[int], None], first: int) -> Iterator[None]:
    """Act with rising numbers, once at the start and then once a second."""
    over = threading.Event()

    def repeat() -> None:
        number = first + 1
        while not over.wait(1.0):
            act(number)
            number += 1

    act(first)
    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(10)
