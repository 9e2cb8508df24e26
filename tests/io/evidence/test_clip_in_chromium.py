"""A clip of the street, made as an incident has it: covers its time, decodes, and plays in Chromium."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import av
import pytest

from app.evidence.item import Kind
from app.evidence.rows import State
from tests.support.browser import CHROMIUM, browser
from tests.support.evidence import EvidenceSpool, street_pictures

FPS, AT = 5, 40
"""Frames a second; the number of the frame with which the incident begins."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    spool = EvidenceSpool(folder)
    anomaly_id = ""
    for number, picture in enumerate(street_pictures(80, fps=FPS, width=320, height=240)):
        if number in (30, 31, 33):
            continue  # frames were dropped
        spool.keeper.see(picture)
        if number == AT:
            anomaly_id = spool.begin(picture, Kind.CLIP)
            spool.tend()
    row = spool.until(anomaly_id, State.SPOOLED)
    film = folder / "clip.mp4"
    film.write_bytes(spool.folder.read(row.key) or b"")
    spool.close()
    return film


def test_a_clip_decodes_and_covers_its_time_to_a_sample(clip: Path):
    with av.open(str(clip)) as container:
        at = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    expected = [number / FPS - 3 for number in range(15, 66) if number not in (30, 31, 33)]
    assert at == pytest.approx(expected, abs=0.002)
    assert at[-1] - at[0] == pytest.approx(10, abs=1 / FPS)


@pytest.fixture
def address(clip: Path) -> Iterator[str]:
    (clip.parent / "index.html").write_text("<video src='clip.mp4' muted></video>")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(clip.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_a_clip_plays_in_chromium(address: str, tmp_path: Path):
    with browser(tmp_path) as page:
        page.open(address)
        assert page.wait("document.querySelector('video')?.readyState >= 3")
        duration = page.run("document.querySelector('video').duration")
        assert duration == pytest.approx(10.2, abs=0.4)
        page.run("(async () => { const v = document.querySelector('video'); v.playbackRate = 8; await v.play(); })()")
        assert page.wait("document.querySelector('video').ended")
        assert page.run("document.querySelector('video').error === null")
        assert page.run("document.querySelector('video').videoWidth") == 320
