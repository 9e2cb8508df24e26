"""The live page in a real Chromium, over a running system."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.support.browser import Page, browser
from tests.support.faults import Network
from tests.support.waiting import wait_for
from tests.support.watched_system import SOURCE, STEADY, Watched

BOXES = f"document.querySelectorAll('#camera-{STEADY} svg rect.box')"
PLACES = f"[...{BOXES}].map(box => box.getAttribute('x') + ',' + box.getAttribute('y')).join(' ')"
LINKED = "document.getElementById('link').textContent === 'connected'"


@pytest.fixture(scope="module")
def page(watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("chromium")) as tab:
        tab.size(1280, 900)
        tab.open(watched.api + "/")
        tab.wait(LINKED)
        yield tab


def test_the_page_shows_every_camera_the_system_and_its_events(page: Page, network: Network):
    page.wait(f"{BOXES}.length > 0")
    assert page.run("[...document.querySelectorAll('article')].map(tile => tile.id).sort()") == [
        f"camera-{SOURCE}",
        f"camera-{STEADY}",
    ]
    page.wait(f"document.querySelector('#camera-{STEADY} .word').textContent === 'live'")
    assert "of 2 frames/s delivered" in page.run(f"document.querySelector('#camera-{STEADY} .rate').textContent")
    bar = page.wait(f"document.querySelector('#camera-{STEADY} .latency').getAttribute('aria-label')")
    assert "of 1000 ms" in bar
    for stage in ("encode", "transport", "queue", "decode", "inference", "commit"):
        assert stage in bar
    system = page.run("document.getElementById('system').textContent")
    assert network.bootstrap in system
    assert "2 of 2" in page.wait("document.getElementById('system').textContent.includes('2 of 2') && '2 of 2'")
    for word in ("detectors", "ingress", "queue", "spool", "Kafka"):
        assert word in system
    page.wait("document.querySelectorAll('#events li').length > 5")


def test_the_boxes_move_and_are_always_those_of_the_picture(page: Page):
    seen = set()
    for _ in range(4):
        frame, boxes = page.run(
            f"[document.querySelector('#camera-{STEADY}').dataset.frame,"
            f" document.querySelector('#camera-{STEADY} svg').dataset.frame]"
        )
        assert boxes in ("", frame)
        seen.add(page.run(PLACES))
        page.wait(f"document.querySelector('#camera-{STEADY}').dataset.frame !== {frame!r}")
    assert len(seen) >= 3
    labels = page.run(f"[...document.querySelectorAll('#camera-{STEADY} svg.boxes text')].map(one => one.textContent)")
    assert labels
    assert all(re.fullmatch(r".+ (0\.\d\d|1\.00)( #\d{1,4})?", label) for label in labels)


def test_nothing_is_fetched_from_elsewhere_and_nothing_goes_wrong(page: Page, watched: Watched):
    page.run("1")
    assert {urlsplit(url).netloc for url in page.requested if url.startswith("http")} == {urlsplit(watched.api).netloc}
    assert page.faults == []


def test_a_camera_whose_source_dies_turns_red_says_why_and_comes_back(page: Page, watched: Watched):
    tile = f"document.querySelector('#camera-{SOURCE}')"
    colour = f"getComputedStyle({tile}).borderTopColor"
    page.wait(f"{tile}.dataset.tone === 'good' || {tile}.dataset.tone === 'wait'")
    before = page.run(colour)
    watched.source.go_away()
    try:
        page.wait(f"{tile}.dataset.tone === 'bad'", 60)
        assert page.run(colour) != before
        red, green, blue = (int(part) for part in page.run(colour)[4:-1].split(","))
        assert red > 2 * max(green, blue)
        # Colour is never the only sign.
        assert page.run(f"{tile}.querySelector('.word').textContent") in ("reconnecting", "offline", "stalled")
        assert page.run(f"{tile}.querySelector('.sign').textContent") in ("▲", "✖")
        page.wait(f"{tile}.querySelector('.why').textContent.length > 5")
        assert page.run("document.getElementById('attention').hidden") is False
        assert SOURCE in page.run("document.getElementById('troubles').textContent")
        page.wait(f"document.getElementById('said').textContent.includes({SOURCE!r})")
        # The next statuses leave the keyboard's focus where it is.
        since = f"{tile}.querySelector('.since').textContent"
        page.run(f"document.querySelector('#troubles li[data-camera={SOURCE}] a').focus()")
        before = page.run(since)
        page.wait(f"{since} !== {before!r}")
        assert page.run("document.activeElement.closest('li').dataset.camera") == SOURCE
    finally:
        watched.source.listen()
    page.wait(f"{tile}.querySelector('.word').textContent === 'live'", 60)


def test_it_is_used_by_keyboard(page: Page):
    page.run(f"document.querySelector('#camera-{STEADY} .name').focus()")
    page.press("Enter", 13, "\r")
    assert page.run(f"document.querySelector('#camera-{STEADY}').classList.contains('large')") is True
    assert page.run("document.getElementById('filter').value") == STEADY
    page.wait("[...document.querySelectorAll('#events li')].some(row => !row.hidden)")
    assert page.run(
        f"[...document.querySelectorAll('#events li')].every(row => row.hidden || row.dataset.camera === {STEADY!r})"
    )
    page.press("Escape", 27)
    assert page.run(f"document.querySelector('#camera-{STEADY}').classList.contains('large')") is False


def test_everything_has_a_name_for_a_screen_reader(page: Page):
    page.call("Accessibility.enable")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    page.call("Accessibility.disable")
    for node in nodes:
        if node.get("role", {}).get("value") in ("button", "combobox", "link", "image", "img") and not node["ignored"]:
            assert node.get("name", {}).get("value"), node


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_legible_in_light_and_dark(page: Page, scheme: str):
    page.scheme(scheme)
    shades = page.run(
        "['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name].match(/\\d+/g).map(Number))"
    )
    ink, ground = (luminance(shade) for shade in shades)
    assert (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05) >= 7
    assert (ink < ground) == (scheme == "light")


def luminance(shade: list[int]) -> float:
    parts = [part / 255 for part in shade[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hundred_reloads_leak_no_stream(page: Page, watched: Watched):
    loaded = 0
    for _ in range(100):
        page.run("document.body.dataset.old = 'yes'")
        page.call("Page.reload")
        page.wait(f"!document.body.dataset.old && {LINKED}", 60)
        loaded += 1
    assert loaded == 100
    wait_for(lambda: watched.status()["viewers"] == 1, 60, "one viewer")
    page.open("about:blank")
    wait_for(lambda: watched.status()["viewers"] == 0, 60, "no viewer")
    page.open(watched.api + "/")
    page.wait(LINKED)
    page.wait(f"{BOXES}.length > 0")
