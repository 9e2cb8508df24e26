"""Two hundred cameras (``--cycles``) added and removed: what is left of them."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import ray
from ray._private.ray_constants import LOG_MONITOR_MAX_OPEN_FILES

from tests.support.growth import Trend, Watched, rows_of
from tests.support.inside import Inside, actor_classes, look_inside
from tests.support.ray_cluster import processes
from tests.support.runtime_cameras import STREET, Cameras
from tests.support.table import Table
from tests.support.waiting import wait_for

AT_ONCE, WARM_UP = 5, 3
"""How many cameras are added and removed at the same time; and how many times so many before it counts."""
MOST_OBJECTS, MOST_BLOCKS, MOST_KILOBYTES = 1, 3, 20
"""What one camera more may leave behind in a process of ours, once it is warm: in the second half of all. An actor that
does nothing but own such actors and kill them has 0, 1 and 12: that is Ray 2.60's own. What is under way in the
publisher makes some 50 objects more or less, however many cameras there were."""
IDS = [f"cycled-{number}" for number in range(AT_ONCE)]
_SERIES = re.compile(r"^(ray_\w+\{[^}]*\})", re.MULTILINE)


def series() -> set[str]:
    """Return every series that Ray's agent on this node shows."""
    page = f"http://127.0.0.1:{ray.nodes()[0]['MetricsExportPort']}/metrics"
    return set(_SERIES.findall(httpx.get(page, timeout=60).text))


def ours(every: set[str]) -> set[str]:
    """Return those of cameras, by our names."""
    return {one for one in every if one.startswith("ray_sightline_") and "camera_id=" in one}


def cycle(api: Cameras) -> None:
    """Add cameras, let each have frames accepted, and remove them."""
    with ThreadPoolExecutor(AT_ONCE) as asking:
        list(asking.map(lambda one: api.ask("POST", expect=201, id=one, url=STREET, fps=2), IDS))
        api.working("steady", "yard", *IDS)
        last_words = list(asking.map(lambda one: api.ask("DELETE", f"/{one}"), IDS))
    assert all(word["ledger"]["in_flight"] == 0 for word in last_words)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_hundred_cameras_added_and_removed_leave_everything_as_it_was(
    cameras: Cameras, table: Table, pytestconfig: pytest.Config
):
    rounds: int = max(2, pytestconfig.getoption("--cycles") // AT_ONCE)
    for _ in range(WARM_UP):
        cycle(cameras)
    steady = cameras.working("steady", "yard")["steady"]
    actors, classes, before = len(processes("ray::CameraActor")), actor_classes(), settled_series()
    watched, began = Watched(), time.monotonic()
    watched.sample(began)
    insides = [look_inside(cameras.all)]
    for half in (rounds // 2, rounds - rounds // 2):
        for _ in range(half):
            cycle(cameras)
            watched.sample(time.monotonic())
        insides.append(look_inside(cameras.all))
    minutes = (time.monotonic() - began) / 60
    wait_for(lambda: len(processes("ray::CameraActor")) == actors, 60, "as many camera processes as before")
    after, trends, halves = settled_series(), watched.trends(began), growths(insides)
    counted = (rounds - rounds // 2) * AT_ONCE
    table.write(
        [
            f"{rounds * AT_ONCE} cameras added and removed in {minutes:.1f} minutes. Series of ours: "
            f"{len(ours(before))} before, {len(ours(after))} after; of Ray: {len(before - ours(before))} before, "
            f"{len(after - ours(after))} after.",
            "",
            *rows_inside(insides[-1], halves),
            "",
            *rows_of(trends),
        ]
    )
    assert ours(after) == ours(before)
    assert actor_classes() == classes
    now = cameras.working("steady", "yard")["steady"]
    assert (now["epoch"], now["ledger"]["dropped"]["shutdown"]) == (steady["epoch"], 0)
    for title, (_, grown) in halves.items():
        assert grown.tasks <= 0, title
        assert grown.objects < MOST_OBJECTS * counted, title
        assert grown.kilobytes < MOST_KILOBYTES * counted, title
    # The others count frames, and the publisher remembers every event's id for ten minutes.
    assert halves["CameraManager"][1].blocks < MOST_BLOCKS * counted
    assert {trend.title.split(":")[-1] for trend in trends} >= {"CameraManager", "DetectionIngress", "KafkaPublisher"}
    for trend in trends:
        assert trend.files[1] <= most_files(trend), trend
        assert trend.threads[1] <= trend.threads[0] + 4, trend


def growths(insides: list[dict[str, Inside]]) -> dict[str, tuple[Inside, Inside]]:
    """Return how much each of our actors grew in either half; the first is its warm-up."""
    first, middle, last = insides
    return {title: (middle[title].since(first[title]), last[title].since(middle[title])) for title in first}


def rows_inside(last: dict[str, Inside], halves: dict[str, tuple[Inside, Inside]]) -> list[str]:
    """Return the lines of a markdown table."""
    head = [
        "| actor | MB at the end | KB, first half | KB, second | objects | blocks | asyncio tasks |",
        "|---|---|---|---|---|---|---|",
    ]
    return head + [
        f"| {title} | {last[title].kilobytes / 1024:.1f} | {one.kilobytes:+} | {two.kilobytes:+} "
        f"| {one.objects:+}, {two.objects:+} | {one.blocks:+}, {two.blocks:+} | {one.tasks:+}, {two.tasks:+} |"
        for title, (one, two) in halves.items()
    ]


def most_files(trend: Trend) -> int:
    """Return how many files a process may have open at last."""
    if trend.title == "log_monitor.py":
        # Ray's: it keeps every worker's log open, of dead ones too, until it has so many; then it closes all.
        return LOG_MONITOR_MAX_OPEN_FILES + 30
    if not trend.title.startswith("ray::"):
        return trend.files[0] + 8  # Ray's head and raylet: two for each idle worker, of which they keep up to four
    return trend.files[0] + 2


def settled_series() -> set[str]:
    """Return the series once Ray has forgotten the gauges of the cameras that are gone."""

    def settled() -> set[str]:
        now = series()
        return set() if any("sightline_camera_up" in one and IDS[0][:6] in one for one in now) else now

    return wait_for(settled, 90, "the end of the gauges of cameras that are gone")
