"""OutputLayout: how the output of a network is read, recognised once, when the model is loaded.

A foreign export says little of itself, and the same shape can mean several things: (1, 25200, 6) are 25200 boxes with
score and class, or what a YOLOv5 of one class gives at 25200 anchors. So the network is run once on noise, and shapes,
numbers and the number of names must agree; what does not is refused.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))
"""Of the published heads: the usual one, those with P6 and P2, and the one of the tiny models."""
_ANCHORS_PER_CELL = 3  # of YOLOv5 and YOLOv7
_TOLERANCE = 2e-3  # of FP16
_REMEDY = "give a YOLO detection model, exported by Ultralytics, in DETECTOR_MODEL"


class OutputKind(enum.Enum):
    """What the rows of an output are."""

    ANCHORS = "anchors"
    """(4 + classes, anchors): center, width, height, and a score a class; YOLOv8 and later."""
    OBJECTNESS = "objectness"
    """(anchors, 5 + classes): the same with the score of any object before those of the classes; YOLOv5 and YOLOv7."""
    FINAL = "final"
    """(detections, 6): corners, score, class id; heads without NMS, and exports that contain it."""


@dataclass(frozen=True)
class OutputLayout:
    """How one image's output is read."""

    kind: OutputKind
    classes: int | None
    """Scores an anchor; ``None`` where the output is final and the model names no classes."""
    rows: int | None = None
    """Detections of an image at most, where the output is final."""


def recognise_output(
    outputs: Sequence[NDArray[np.float32]], size: tuple[int, int], names: int | None, end_to_end: bool
) -> OutputLayout:
    """Return the layout of the outputs of one picture of noise.

    Args:
        outputs: all that the network returned for a batch of one.
        size: height and width of the input, in pixels.
        names: how many classes the model names; ``None``: it names none.
        end_to_end: whether the model says that its output is final.

    Raises:
        ValueError: it is no layout of a detection model that is supported, or not that of so many names; one line.
    """
    first, others = outputs[0], outputs[1:]
    shapes = " and ".join(str(tuple(each.shape)) for each in outputs)
    if first.ndim != 3 or first.shape[0] != 1:
        raise ValueError(f"is no detection model: its output is {shapes}; {_REMEDY}")
    # The first YOLOv5 exports have the three raw heads, of five dimensions, beside the output.
    if any(each.ndim != 5 for each in others):
        raise ValueError(f"is no detection model: its outputs {shapes} are as of a segmentation model; {_REMEDY}")
    rows, columns = first.shape[1:]
    output = first[0]
    at_anchors = rows in {_ANCHORS_PER_CELL * cells for cells in _cell_counts(size)}
    if columns == 6 and (end_to_end or not at_anchors):
        _check_final(output, names)
        return OutputLayout(OutputKind.FINAL, names, rows)
    if at_anchors and columns >= 6 and names in (None, columns - 5):
        _check_scores(output[:, 4:])
        return OutputLayout(OutputKind.OBJECTNESS, columns - 5)
    if rows == 4 + names if names is not None else 5 <= rows < columns:
        _check_scores(output[4:])
        if names is None:
            _check_no_angle(output[4:])
        return OutputLayout(OutputKind.ANCHORS, rows - 4)
    expected = f"(1, {4 + names}, anchors) for its {names} names" if names is not None else "(1, 4 + classes, anchors)"
    raise ValueError(f"is no detection model that is supported: it gives {shapes}, not {expected}; {_REMEDY}")


def _cell_counts(size: tuple[int, int]) -> set[int]:
    return {sum((size[0] // stride) * (size[1] // stride) for stride in strides) for strides in _STRIDES}


def _check_scores(scores: NDArray[np.float32]) -> None:
    if (scores < -_TOLERANCE).any() or (scores > 1 + _TOLERANCE).any():
        raise ValueError(
            "is no detection model: where scores should be it gives numbers outside 0 to 1, as segmentation, pose and "
            f"OBB models do; {_REMEDY}"
        )


def _check_no_angle(scores: NDArray[np.float32]) -> None:
    """Refuse the angle of an OBB model in place of a class: at most anchors of any picture it is about 0.8 radians."""
    middles = np.median(scores, axis=1)
    if len(middles) > 1 and middles[-1] > 0.5 and (middles[:-1] < 0.25).all():
        raise ValueError(
            f"is no detection model: the last of its numbers is no score, but as the angle of an OBB model; {_REMEDY}"
        )


def _check_final(output: NDArray[np.float32], names: int | None) -> None:
    scores, ids = output[:, 4], output[:, 5]
    if (np.abs(ids - np.round(ids)) > _TOLERANCE).any() or (ids < 0).any():
        raise ValueError(f"is no detection model that is supported: its rows of 6 end in no class id; {_REMEDY}")
    _check_scores(scores)
    if names is not None and (ids >= names).any():
        raise ValueError(f"reports class {int(ids.max())} and has {names} names: they are not those of the model")
