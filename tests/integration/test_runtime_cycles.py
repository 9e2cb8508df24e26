"""Two hundred cameras (``--cycles``) added and removed: what is left of them (long)."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import ray

from tests.conftest import Table, wait_for
from tests.integration.growth import Watched, rows_of
from tests.integration.test_cameras import processes
from tests.integration.test_runtime_cameras import STREET, Cameras, cameras

__all__ = ["cameras"]

AT_ONCE, WARM_UP = 5, 3
"""How many cameras are added and removed at the same time; and how many times so many before it counts."""
IDS = [f"cycled-{number}" for number in range(AT_ONCE)]
_SERIES = re.compile(r"^(ray_\w+\{[^}]*\})", re.MULTILINE)


def series() -> set[str]:
    """Give every series that Ray's agent on this node shows."""
    page = f"http://127.0.0.1:{ray.nodes()[0]['MetricsExportPort']}/metrics"
    return set(_SERIES.findall(httpx.get(page, timeout=60).text))


def ours(every: set[str]) -> set[str]:
    """Give those of cameras, by our names."""
    return {one for one in every if one.startswith("ray_sightline_") and "camera_id=" in one}


def cycle(api: Cameras) -> None:
    """Add cameras, let each have frames accepted, and remove them."""
    with ThreadPoolExecutor(AT_ONCE) as asking:
        list(asking.map(lambda one: api.ask("POST", expect=201, id=one, url=STREET, fps=2), IDS))
        api.working("steady", "yard", *IDS)
        last_words = list(asking.map(lambda one: api.ask("DELETE", f"/{one}"), IDS))
    assert all(word["ledger"]["in_flight"] == 0 for word in last_words)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_two_hundred_cameras_added_and_removed_leave_everything_as_it_was(
    cameras: Cameras, table: Table, pytestconfig: pytest.Config
):
    cycles: int = pytestconfig.getoption("--cycles")
    for _ in range(WARM_UP):
        cycle(cameras)
    steady = cameras.all()["steady"]
    actors, before = len(processes("ray::CameraActor")), settled_series()
    watched, began = Watched(), time.monotonic()
    watched.sample(began)
    for _ in range(cycles // AT_ONCE):
        cycle(cameras)
        watched.sample(time.monotonic())
    minutes = (time.monotonic() - began) / 60
    wait_for(lambda: len(processes("ray::CameraActor")) == actors, 60, "as many camera processes as before")
    after, trends = settled_series(), watched.trends(began)
    table.write(
        [
            f"{cycles} cameras added and removed in {minutes:.1f} minutes. Series of ours: {len(ours(before))} before, "
            f"{len(ours(after))} after; of Ray: {len(before - ours(before))} before, {len(after - ours(after))} after.",
            "",
            *rows_of(trends),
        ]
    )
    assert ours(after) == ours(before)
    now = cameras.working("steady", "yard")["steady"]
    assert (now["epoch"], now["ledger"]["dropped"]["shutdown"]) == (steady["epoch"], 0)
    (manager,) = [trend for trend in trends if trend.title.endswith("CameraManager")]
    assert manager.growth * minutes / 10 < 4  # megabytes, over all of it
    for trend in trends:
        assert trend.files[1] <= trend.files[0] + 2, trend
        assert trend.threads[1] <= trend.threads[0] + 4, trend


def settled_series() -> set[str]:
    """Give the series once Ray has forgotten the gauges of the cameras that are gone."""

    def settled() -> set[str]:
        now = series()
        return set() if any("sightline_camera_up" in one and IDS[0][:6] in one for one in now) else now

    return wait_for(settled, 90, "the end of the gauges of cameras that are gone")
