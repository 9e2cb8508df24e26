"""Pictures that carry a number in big blocks, so that any decoder's output tells which frame it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_COLUMNS, _ROWS = 8, 2
_BITS = _COLUMNS * _ROWS
_DARK, _BRIGHT = 16, 235
WIDTH, HEIGHT = 160, 96


def draw(number: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """Draw a number below 65536, lowest bit first, as (H, W, 3) uint8 grey blocks."""
    bits = np.array([number >> bit & 1 for bit in range(_BITS)], np.uint8).reshape(_ROWS, _COLUMNS)
    rows = np.arange(height) * _ROWS // height
    columns = np.arange(width) * _COLUMNS // width
    levels = np.where(bits[rows][:, columns], _BRIGHT, _DARK).astype(np.uint8)
    return np.repeat(levels[:, :, None], 3, axis=2)


def read(image: NDArray[np.uint8]) -> int:
    """Read the number of a decoded picture, whatever its size."""
    height, width = image.shape[:2]
    number = 0
    for bit in range(_BITS):
        y = (bit // _COLUMNS * 2 + 1) * height // (_ROWS * 2)
        x = (bit % _COLUMNS * 2 + 1) * width // (_COLUMNS * 2)
        number |= int(image[y - 3 : y + 3, x - 3 : x + 3].mean() > 127) << bit
    return number
