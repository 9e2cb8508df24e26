"""Recordings of every usual rate and container: the frames sampled are those that the definition names."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from app.cameras.sampling import EvenGrid
from app.cameras.sources import open_source
from app.core.clock import Clock
from app.errors import SourceEnded
from app.settings.source_url import SourceUrl
from tests.support.cameras import ManualClock
from tests.support.numbered import read
from tests.support.recordings import picked, stamps_at, write_recording
from tests.support.rows import Rows

ASKED = [1, 5, 7, 10, 25]
NTSC = Fraction(30_000, 1001)
RATES = [Fraction(5), Fraction(10), Fraction(15), Fraction(25), NTSC, Fraction(30), Fraction(60)]
CONTAINERS = [
    ("v.mp4", "libx264"),
    ("v.mkv", "libx264"),
    ("v.ts", "libx264"),
    ("v.mp4", "libx265"),
    ("v.mp4", "mpeg4"),
    ("v.avi", "mpeg4"),
    ("v.webm", "libvpx-vp9"),
    ("v.avi", "mjpeg"),
]
UNEVEN = [Fraction(ms, 1000) for ms in (0, 33, 80, 100, 170, 430, 432, 600, 1000, 1001, 1390, 1999, 2001, 2600, 3100)]


def sampled(url: str, fps: int, clock: Clock) -> list[int]:
    """Read the whole recording, and return the numbers of the pictures that were sampled."""
    source, grid = open_source(SourceUrl.parse(f"{url}?loop=false"), fps, clock), EvenGrid(fps)
    numbers = []
    source.open()
    try:
        while (timing := source.grab()) is not None:
            if grid.takes(timing.time_s):
                numbers.append(read(source.retrieve().image))
    except SourceEnded:
        pass
    finally:
        source.close()
    return numbers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="module")
def recordings(folder: Path) -> dict[Fraction, Path]:
    return {
        rate: write_recording(folder / f"{float(rate):.0f}-{rate.denominator}.mp4", stamps_at(rate)) for rate in RATES
    }


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("rate", RATES, ids=lambda rate: f"{float(rate):.4g}fps")
def test_of_every_rate_each_first_frame_at_or_after_a_grid_point_is_sampled(
    recordings: dict[Fraction, Path], rate: Fraction, asked: int, rows: Rows
):
    assert sampled(str(recordings[rate]), asked, ManualClock().clock()) == picked(stamps_at(rate), asked)
    rows.add("video file", f"{len(RATES)} constant rates from 5 to 60 fps, and an uneven one", "each sample as defined")


@pytest.mark.parametrize("asked", ASKED)
def test_of_a_variable_rate_each_first_frame_at_or_after_a_grid_point_is_sampled(tmp_path: Path, asked: int):
    file = write_recording(tmp_path / "v.mp4", UNEVEN)
    assert sampled(str(file), asked, ManualClock().clock()) == picked(UNEVEN, asked)


@pytest.mark.parametrize(("name", "codec"), CONTAINERS)
def test_every_codec_and_container_is_sampled_alike(tmp_path: Path, name: str, codec: str, rows: Rows):
    stamps = stamps_at(Fraction(25), 3.0)
    file = write_recording(tmp_path / name, stamps, codec)
    assert sampled(str(file), 7, ManualClock().clock()) == picked(stamps, 7)
    rows.add("video file", "H.264, H.265, MPEG-4, VP9, MJPEG in MP4, MKV, TS, AVI, WebM", "each sample as defined")
