"""The letterbox equals Ultralytics' own, pixel for pixel."""

from __future__ import annotations

import numpy as np
import pytest

from app.detection import ultralytics_guard
from app.detection.letterbox import fit, resize_into

SIZES = [(1920, 1080), (1280, 642), (640, 480), (333, 500), (97, 53), (160, 160), (1, 300), (4000, 3)]


@pytest.mark.parametrize("rectangular", [True, False])
@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("size", [(160, 160), (640, 640), (384, 640)])
def test_a_picture_is_placed_as_ultralytics_places_it(
    width: int, height: int, size: tuple[int, int], rectangular: bool
) -> None:
    ultralytics_guard.import_ultralytics()
    from ultralytics.data.augment import LetterBox

    image = np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8)
    box = fit(width, height, size, 32, rectangular)
    target = np.zeros((*box.shape, 3), np.uint8)
    resize_into(image, box, target)
    expected = LetterBox(size, auto=rectangular, stride=32)(image=image)
    np.testing.assert_array_equal(target, expected[..., ::-1])
