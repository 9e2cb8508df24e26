"""Letterbox: how a picture is scaled and padded into the model's input, as Ultralytics' ``predict`` does."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

PADDING = 114
"""Value of the border, in all channels."""


@dataclass(frozen=True)
class Letterbox:
    """Where in the model's input a picture of one size lies; all in pixels."""

    scaled: tuple[int, int]
    """Width and height of the scaled picture."""
    left: int
    top: int
    shape: tuple[int, int]
    """Height and width of the model's input."""


def fit(width: int, height: int, size: tuple[int, int], stride: int, rectangular: bool) -> Letterbox:
    """Return the letterbox of a picture in an input of ``size`` (height, width).

    Args:
        width: of the picture.
        height: of the picture.
        size: the largest input, a multiple of ``stride``.
        stride: what the input's sides must be multiples of.
        rectangular: whether the input shrinks to the least multiple of ``stride`` that holds the picture.
    """
    ratio = min(size[0] / height, size[1] / width)
    scaled = (max(round(width * ratio), 1), max(round(height * ratio), 1))
    across, down = size[1] - scaled[0], size[0] - scaled[1]
    if rectangular:
        across, down = across % stride, down % stride
    # An odd pixel goes to the right and to the bottom.
    left, top = round(across / 2 - 0.1), round(down / 2 - 0.1)
    return Letterbox(scaled, left, top, (scaled[1] + down, scaled[0] + across))


def resize_into(image: NDArray[np.uint8], box: Letterbox, target: NDArray[np.uint8]) -> None:
    """Scale ``image`` (H, W, 3) BGR into ``target`` (``*box.shape``, 3) RGB, and paint the border."""
    width, height = box.scaled
    right, bottom = box.left + width, box.top + height
    inner = target[box.top : bottom, box.left : right]
    scaled = image
    if image.shape[:2] != (height, width):
        scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    cv2.cvtColor(scaled, cv2.COLOR_BGR2RGB, dst=inner)
    target[: box.top] = PADDING
    target[bottom:] = PADDING
    target[box.top : bottom, : box.left] = PADDING
    target[box.top : bottom, right:] = PADDING
