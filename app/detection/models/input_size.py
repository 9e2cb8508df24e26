"""The size of a network's input: what is asked for, rounded up to what the network takes."""

from __future__ import annotations

from collections.abc import Sequence

from app.errors import SettingsError

DEFAULT_SIZE = 640
"""Pixels; what Ultralytics' ``predict`` takes where the model does not say."""


def input_size(
    fixed: int | Sequence[int] | None,
    requested: int | None,
    own: int | Sequence[int] | None,
    stride: int,
    form: str,
) -> tuple[int, int]:
    """Return height and width of a network's largest input, multiples of its stride.

    >>> input_size(None, 300, None, 32, "any.pt")
    (320, 320)

    Args:
        fixed: the only size it takes, in pixels: a side, or height and width; ``None``: it takes any.
        requested: the longest side that the settings ask for; ``None``: they do not.
        own: the size that it was trained for, or exported for; ``None``: it does not say.
        stride: what the sides must be multiples of.
        form: the base name of its file, for the error.

    Raises:
        SettingsError: another size than the only one is asked for.
    """
    given = fixed or requested or own or DEFAULT_SIZE
    sides = [given] * 2 if isinstance(given, int) else [int(side) for side in given]
    height, width = (-(-side // stride) * stride for side in (sides * 2)[:2])
    if fixed and requested and requested != max(height, width):
        raise SettingsError(
            f"detector.image_size (DETECTOR_IMAGE_SIZE): {requested} is not what {form} was exported for; "
            f"allowed is {height}×{width}"
        )
    return height, width
