"""What ``sightline doctor`` computes by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.cli.checks import outage_bridged
from app.settings.loading import load_settings


@pytest.mark.parametrize(
    ("cameras", "bridged"),
    [
        ("a=synthetic://street,b=synthetic://street", timedelta(seconds=(1 << 20) / 10)),  # 1 GiB of 1 KiB, 10 a second
        (",".join(["synthetic://street"] * 100), timedelta(seconds=(1 << 20) / 500)),
    ],
)
def test_the_spool_bridges_an_outage_by_its_size_and_the_rate_of_the_cameras(cameras: str, bridged: timedelta):
    assert outage_bridged(load_settings({"SIGHTLINE_CAMERAS": cameras})) == bridged


def test_the_spool_bridges_no_longer_outage_than_an_event_may_be_old():
    settings = load_settings({"SIGHTLINE_CAMERAS": "a=synthetic://street", "INFERENCE_FPS": "0.1"})
    assert outage_bridged(settings) == settings.kafka.max_event_age == timedelta(days=7)
