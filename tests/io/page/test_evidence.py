"""An incident's picture and clip on the page: a real Chromium over the API of a stand-in system that has a token."""

from __future__ import annotations

from typing import Any

import pytest

from app.evidence.film import write_film
from app.publisher import EvidenceAnswer
from app.web import Incidents
from tests.support.api_system import NOW, Found
from tests.support.browser import Page, browser
from tests.support.evidence import street_pictures
from tests.support.page_server import Seen, serving

TOKEN = "right-7f3a"
SHOWN = "document.getElementById('evidence').open"
HERE, RECORDING = {"state": "stored", "reason": ""}, {"state": "recording", "reason": ""}
LOST = {"state": "expired", "reason": "evidence.max_bytes was reached"}


def body(anomaly_id: str, *, ended: bool, **fields: Any) -> dict[str, Any]:
    began = NOW.isoformat().replace("+00:00", "Z")
    return {
        "anomaly_id": anomaly_id, "camera_id": "gate", "rule": "no-parking", "type": "stopped", "severity": "warning",
        "state": "end" if ended else "new", "started_at": began, "ended_at": began if ended else None, "reason": None,
        "track_ids": [42], "classes": ["car"], "zone": None, "line": None, "direction": None, "value": 10.0,
        "image_url": None, "clip_url": None, "image": None, "clip": None, **fields,
    }  # fmt: skip


class Pictured(Found):
    """Answers by whether incidents go on, and by id; has the pictures and clips of a street."""

    def __init__(self, film: bytes, jpeg: bytes) -> None:
        super().__init__()
        self.answers = {
            ("now", "snapshot"): EvidenceAnswer("image/jpeg", data=jpeg),
            ("now", "clip"): EvidenceAnswer("video/mp4", data=film),
            ("past", "snapshot"): EvidenceAnswer("image/jpeg", data=jpeg),
            ("past", "clip"): EvidenceAnswer("video/mp4", reason=LOST["reason"]),
        }
        self.bodies = [
            body("now", ended=False, image=HERE, clip=RECORDING),
            body("past", ended=True, image=HERE, clip=LOST),
            body("plain", ended=True),
        ]

    async def incidents(self, query: Any) -> Any:
        found = await super().incidents(query)
        by_state = [one for one in found or () if query.active is None or query.active == (one["ended_at"] is None)]
        return [one for one in by_state if query.anomaly_id in (None, one["anomaly_id"])]

    async def evidence(self, anomaly_id: str, kind: str, signed: bool) -> EvidenceAnswer | None:
        await super().evidence(anomaly_id, kind, signed)
        return self.answers.get((anomaly_id, kind))


class Guarded(Seen):
    """The stand-in, with a token, and with incidents that have pictures and clips."""

    def __init__(self, found: Pictured) -> None:
        super().__init__()
        self.token = TOKEN
        self.found = found
        self.incidents = Incidents(found)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("chromium")
    pictures = list(street_pictures(15, width=320, height=240))
    write_film(folder / "clip.mp4", pictures)
    found = Pictured((folder / "clip.mp4").read_bytes(), pictures[0].image)
    with browser(folder) as tab, serving(lambda: Guarded(found)) as (address, _):
        tab.size(1280, 900)
        tab.open(address)
        tab.wait("document.getElementById('ask').open")
        tab.run("document.getElementById('token').focus()")
        tab.type(TOKEN)
        tab.press("Enter", 13, "\r")
        tab.wait("document.querySelectorAll('#past li').length === 2")
        yield tab, found


def click(page: Page, selector: str) -> None:
    page.wait(f"document.querySelector({selector!r}) !== null")
    page.run(f"document.querySelector({selector!r}).click()")


def test_the_picture_and_the_clip_of_an_incident_are_shown_and_the_clip_plays_once_it_is_recorded(page):
    tab, found = page
    click(tab, "#active li[data-anomaly=now] button.evidence")
    tab.wait(f"{SHOWN} && document.querySelector('#evidence img')?.naturalWidth === 320")
    assert tab.run("document.getElementById('evidence-title').textContent") == (
        "no-parking, stopped (car), gate, 12:00:00"
    )
    clip = "document.querySelector('#evidence [data-kind=clip]')"
    tab.wait(f"{clip}.textContent === 'The clip is still being recorded.'")
    found.bodies = [{**one, "clip": HERE} if one["clip"] is RECORDING else one for one in found.bodies]
    tab.wait("document.querySelector('#evidence video')?.readyState >= 3")
    assert tab.run("document.querySelector('#evidence video').duration") == pytest.approx(3, abs=0.4)
    tab.run("(async () => { const v = document.querySelector('video'); v.playbackRate = 8; await v.play(); })()")
    tab.wait("document.querySelector('#evidence video').ended")
    assert tab.run("document.querySelector('#evidence video').videoWidth") == 320
    assert [one for one in found.asked if isinstance(one, tuple)] == [
        ("now", "snapshot", False),
        ("now", "clip", False),
    ]
    assert not any(TOKEN in url for url in tab.requested)
    tab.run("document.getElementById('evidence-close').click()")
    tab.wait(f"!{SHOWN} && document.getElementById('evidence-parts').children.length === 0")


def test_what_is_lost_says_why_and_an_incident_without_evidence_has_no_button(page):
    tab, _ = page
    assert tab.run("document.querySelectorAll('#past li').length") == 2
    assert tab.run("document.querySelector('#past li[data-anomaly=plain] button')") is None
    click(tab, "#past li[data-anomaly=past] button.evidence")
    tab.wait(f"{SHOWN} && document.querySelector('#evidence img')?.naturalWidth === 320")
    tab.wait(
        "document.querySelector('#evidence [data-kind=clip]').textContent === "
        "'The clip is not there: evidence.max_bytes was reached.'"
    )
    tab.run("document.getElementById('evidence-close').click()")


def test_the_button_of_a_past_incident_keeps_the_focus_while_others_come(page):
    tab, found = page
    button = "document.querySelector('#past li[data-anomaly=past] button.evidence')"
    tab.run(f"{button}.focus()")
    found.bodies = [body("newer", ended=True), *found.bodies]
    tab.wait("document.querySelectorAll('#past li').length === 3")
    assert tab.run("document.querySelector('#past li').dataset.anomaly") == "newer"
    assert tab.run(f"document.activeElement === {button}") is True
    found.bodies = [one for one in found.bodies if one["anomaly_id"] != "plain"]
    tab.wait("document.querySelectorAll('#past li').length === 2")
    assert tab.run(f"document.activeElement === {button}") is True
    # A browser logs the 404 of a lost clip and the 401 before the token: no script failed.
    assert [fault for fault in tab.faults if "404" not in fault and "401" not in fault] == []
