"""Films: what is in them, and when it is shown."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from app.errors import EvidenceRefused
from app.evidence.film import write_film
from tests.support.evidence import SECOND, START_NS, grey_jpeg, picture_at, street_pictures


def frames_of(path: Path) -> list[tuple[float, np.ndarray]]:
    """Return each frame's second, and its pixels."""
    with av.open(str(path)) as container:
        return [(float(frame.pts * frame.time_base), frame.to_ndarray(format="bgr24")) for frame in container.decode()]


def test_each_picture_is_shown_from_its_capture_time_on(tmp_path: Path):
    seconds = [0, 0.2, 0.41, 1.9, 2.0]  # frames were dropped between
    write_film(tmp_path / "x.mp4", [picture_at(at_s, jpeg=grey_jpeg(40 + round(80 * at_s))) for at_s in seconds])
    frames = frames_of(tmp_path / "x.mp4")
    assert [at for at, _ in frames] == pytest.approx(seconds, abs=0.001)
    assert [pixels.mean() for _, pixels in frames] == pytest.approx([40 + round(80 * at_s) for at_s in seconds], abs=6)
    with av.open(str(tmp_path / "x.mp4")) as container:
        assert container.streams.video[0].codec_context.name in ("h264", "vp9", "libvpx-vp9")
        assert container.streams.video[0].time_base <= Fraction(1, 1000)


def test_a_film_is_of_the_street_s_size_and_shows_it(tmp_path: Path):
    pictures = list(street_pictures(4, width=321, height=241))
    write_film(tmp_path / "x.mp4", pictures)
    assert {pixels.shape for _, pixels in frames_of(tmp_path / "x.mp4")} == {(240, 320, 3)}


def test_boxes_are_drawn_only_where_they_are_asked_for(tmp_path: Path):
    pictures = [picture_at(at_s) for at_s in (0, 0.2)]
    deviations = []
    for boxes in (False, True):
        write_film(tmp_path / "x.mp4", pictures, boxes=boxes)
        deviations.append(max(pixels.std() for _, pixels in frames_of(tmp_path / "x.mp4")))
    assert deviations[0] < 2
    assert deviations[1] > 10


def test_a_picture_of_another_size_is_scaled_and_a_broken_one_left_out(tmp_path: Path):
    large = replace(next(street_pictures(1, width=320, height=240)), captured_at_ns=START_NS + SECOND)
    broken = picture_at(0.5, jpeg=b"\xff\xd8 no picture")
    write_film(tmp_path / "x.mp4", [picture_at(0), broken, large])
    frames = frames_of(tmp_path / "x.mp4")
    assert [at for at, _ in frames] == pytest.approx([0, 1], abs=0.001)
    assert {pixels.shape for _, pixels in frames} == {(24, 32, 3)}


def test_without_a_single_picture_there_is_no_film(tmp_path: Path):
    with pytest.raises(EvidenceRefused, match="none of the clip's pictures"):
        write_film(tmp_path / "x.mp4", [picture_at(0, jpeg=b"broken")])
