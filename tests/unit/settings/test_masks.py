from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.errors import SettingsError
from app.settings.camera_lists import CameraListSource, camera_by_options
from app.settings.cameras import camera_of

CORNER = [[0, 0], [0.3, 0], [0.3, 0.2], [0, 0.2]]


def masks_of(value: Any) -> Any:
    return camera_of({"id": "gate", "url": "rtsp://h/1", "masks": value}).masks


def test_a_cameras_file_names_polygons_in_shares_of_the_frame(tmp_path: Path):
    file = tmp_path / "cameras.yaml"
    file.write_text("cameras: [{id: a, url: rtsp://h/1, masks: [[[0,0],[0.3,0],[0.3,0.2],[0,0.2]]]}]")
    (camera,) = CameraListSource(file=file).read({}).entries
    assert camera.masks == (((0.0, 0.0), (0.3, 0.0), (0.3, 0.2), (0.0, 0.2)),)


def test_a_command_names_polygons_as_text():
    camera = camera_by_options({"id": "a", "url": "rtsp://h/1", "masks": ["0,0 0.3,0 0.3,0.2", "1,1 .5,1 1,.5"]}, {})
    assert camera.masks == (((0.0, 0.0), (0.3, 0.0), (0.3, 0.2)), ((1.0, 1.0), (0.5, 1.0), (1.0, 0.5)))


@pytest.mark.parametrize(
    ("masks", "refusal"),
    [
        ([[[0, 0], [1.2, 0], [1, 1]]], "masks.0.1.0: 1.2: input should be less than or equal to 1"),
        ([CORNER, [[0, 0], [0, -0.1], [1, 1]]], "masks.1.1.1: -0.1: input should be greater than or equal to 0"),
        ([[[0, 0], [0, float("nan")], [1, 1]]], "masks.0.1.1: nan: input should be a finite number"),
        ([[[0, 0], [1, 1]]], "at least 3 items"),
        ([[[0, 0, 0], [1, 1], [0, 1]]], "masks.0.0"),
        ([[0, 0], [1, 0], [1, 1]], "masks.0.0: 0: input should be a valid tuple"),
        ([[[0, 0], [0.5, 0.5], [1, 1]]], "its points lie on one line"),
        (["0,0 1,0"], "allowed is x,y x,y x,y with at least three points"),
        (["0,0 1,0 1"], "allowed is x,y x,y x,y with at least three points"),
        (["0,0 1,0 a,b"], "allowed is x,y x,y x,y with at least three points"),
        ([CORNER] * 65, "at most 64 items"),
        ("all", "masks: 'all': "),
    ],
)
def test_a_polygon_that_hides_nothing_or_lies_outside_the_frame_is_refused_in_one_line(masks: Any, refusal: str):
    with pytest.raises(SettingsError) as refused:
        masks_of(masks)
    assert refusal in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_command_is_reported_which_option_is_wrong():
    with pytest.raises(SettingsError, match=r"^--mask: '0,0 1,0': allowed is x,y"):
        camera_by_options({"id": "a", "url": "rtsp://h/1", "masks": ["0,0 1,0"]}, {})
