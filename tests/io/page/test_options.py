"""What the page says of a camera's own options: a real Chromium over the API of a stand-in system."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from app.settings.cameras import camera_of
from tests.support.api_system import camera, status
from tests.support.browser import browser
from tests.support.page_server import Seen, serving

OPTIONS = "document.querySelector('#camera-gate .options')?.textContent"
OWN = {
    "decode": "auto",
    "masks": [[[0, 0], [0.3, 0], [0.3, 0.2]]],
    "confidence": 0.4,
    "classes": ["person", "car"],
    "stall_s": 20,
}


class Optioned(Seen):
    """The stand-in, whose camera has options of its own."""

    def __init__(self) -> None:
        asked = camera_of({"id": "gate", "url": "rtsp://gate.example/1", "fps": 5, **OWN})
        super().__init__(replace(camera(status()), requested=asked))


def test_a_camera_s_own_options_are_shown_and_none_where_it_has_none(tmp_path: Path):
    with browser(tmp_path) as page:
        with serving(Optioned) as (address, _):
            page.open(address)
            said = "decoder cpu (asked for auto) · 1 mask · confidence 0.4 · only person, car · stalled after 20 s"
            page.wait(f"{OPTIONS} === '{said}'")
            assert page.run("document.body.dataset.fault ?? ''") == ""
        with serving(Seen) as (address, _):
            page.open(address)
            page.wait(f"{OPTIONS} === ''")
