"""From a network's output to detections in pixels of the source image, as Ultralytics' ``predict`` has them.

In NumPy, to the last digit of what torchvision's NMS and Ultralytics' scaling give, so that a process in which another
runtime than torch computes does not load torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from app.detection.detections import Detections
from app.detection.options import DetectorOptions

MAX_WEAK = 100
"""Weak boxes of an image at most, best first."""
_MAX_CANDIDATES, _CLASS_OFFSET = 30_000, 7680  # of Ultralytics' own non_max_suppression


class Postprocessor:
    """Applies thresholds, NMS where the network has none of its own, and the scale of the source image.

    Weak boxes pass through the same steps and change nothing about the detections: NMS takes the best first, and the
    limit of detections counts without them.
    """

    def __init__(
        self,
        options: DetectorOptions,
        class_ids: Sequence[int] | None,
        end_to_end: bool,
        head_limit: int | None = None,
    ) -> None:
        """Set up.

        Args:
            options: the thresholds, and the detections of an image at most.
            class_ids: the classes to keep; ``None``: all.
            end_to_end: whether the network's output is final.
            head_limit: rows of a final output, beyond which the network itself reports no more; ``None``: no limit.
        """
        self._options = options
        weak = options.weak_confidence
        self._least = options.confidence if weak is None else min(weak, options.confidence)
        """Boxes with a score up to here are of no use."""
        self._limit = min(options.max_detections, head_limit or options.max_detections)
        self._class_ids = None if class_ids is None else list(class_ids)
        self._end_to_end = end_to_end

    def select(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the detections of one image as Ultralytics' own NMS selects them, at a fraction of its cost.

        Args:
            output: (4 + classes, anchors), or (detections, 6) where the network's output is final.

        Returns:
            (M, 6) float32: x1 y1 x2 y2 in pixels of the network's input, score, class id, weak ones among them; it
            owns its memory.
        """
        if self._end_to_end:
            return self._limited(self._useful(output[:, :6]))
        scores = output[4:]
        # Nearly all anchors are below the threshold: the others are found before anything else is computed. A score
        # that is not finite is kept here, and refused later.
        some = np.flatnonzero(~(scores.max(0) <= self._least))
        chosen = output[:, some]
        classes = chosen[4:].argmax(0)
        middle, half = chosen[:2], chosen[2:4] / 2
        best = chosen[4:][classes, np.arange(len(some))]
        rows = np.vstack([middle - half, middle + half, best, classes]).T.astype(np.float32)
        return self._limited(self._suppress(self._useful(rows)))

    def select_top(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the detections among the rows of :func:`top_anchors` of one image; as ``select``."""
        if not len(rows) or rows[0, 4] <= self._least:
            return rows[:0].copy()
        return self._limited(self._suppress(self._useful(rows)))

    def is_below_threshold(self, row: NDArray[np.float32]) -> bool:
        """Return whether a row, and with it each with a lower score, is below the threshold of detections."""
        return bool(row[4] <= self._options.confidence)

    def _useful(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        kept = ~(rows[:, 4] <= self._least)
        if self._class_ids is not None:
            kept &= np.isin(rows[:, 5], self._class_ids)
        return np.asarray(rows[kept], np.float32)

    def _limited(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the best detections and the best weak boxes; a weak one that is not finite is left out."""
        if self._options.weak_confidence is None:
            return rows[: self._options.max_detections]
        weak = rows[:, 4] <= self._options.confidence
        some = rows[weak]
        some = some[np.isfinite(some).all(1)][:MAX_WEAK]
        return np.concatenate([rows[~weak][: self._options.max_detections], some])

    def _suppress(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the best of the boxes of one class that overlap; best first."""
        rows = rows[np.argsort(-rows[:, 4], kind="stable")[:_MAX_CANDIDATES]]
        if len(rows) < 2:
            return rows
        # Boxes of different classes are moved away from each other, so that they cannot overlap.
        apart = rows[:, :4] + rows[:, 5:] * _CLASS_OFFSET
        # Those behind the limit are left out anyway; weak ones come after all others.
        limit = self._options.max_detections if self._options.weak_confidence is None else len(rows)
        return rows[best_of_overlapping(apart, self._options.iou, limit)]

    def to_source(
        self, rows: Sequence[NDArray[np.float32]], shape: tuple[int, int], sizes: Sequence[tuple[int, int]]
    ) -> list[Detections]:
        """Return boxes scaled from the network's input of ``shape`` to source images of ``sizes`` (height, width)."""
        return [self._to_source(each, shape, size) for each, size in zip(rows, sizes, strict=True)]

    def _to_source(self, rows: NDArray[np.float32], shape: tuple[int, int], size: tuple[int, int]) -> Detections:
        found = _to_source(rows, shape, size)
        count = int(np.count_nonzero(found.scores > self._options.confidence))
        weak = found.part(slice(count, None)) if count < len(found) else None
        return replace(found.part(slice(count)), truncated=count >= self._limit, weak=weak)


def best_of_overlapping(boxes: NDArray[np.float32], iou: float, limit: int) -> list[int]:
    """Return the indices of the boxes that non-maximum suppression keeps, best first.

    The result and its rounding are those of torchvision's ``nms``: areas and overlaps in FP32, compared in FP64.

    >>> import numpy as np
    >>> best_of_overlapping(np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]], np.float32), 0.7, 300)
    [0, 2]

    Args:
        boxes: (N, 4), x1 y1 x2 y2, best first.
        iou: a box that overlaps a better one by more than this is left out; from 0 to 1.
        limit: boxes at most.
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = np.arange(len(boxes))
    kept: list[int] = []
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # what is not finite is refused later
        while len(left) and len(kept) < limit:
            best, left = left[0], left[1:]
            kept.append(int(best))
            others = boxes[left]
            sides = np.minimum(boxes[best, 2:], others[:, 2:]) - np.maximum(boxes[best, :2], others[:, :2])
            sides = np.maximum(sides, 0)
            both = sides[:, 0] * sides[:, 1]
            overlap = both / (areas[best] + areas[left] - both)
            left = left[~(overlap.astype(np.float64) > iou)]
    return kept


def _to_source(rows: NDArray[np.float32], shape: tuple[int, int], size: tuple[int, int]) -> Detections:
    if not len(rows):
        return Detections.empty()
    if not np.isfinite(rows).all():
        raise ValueError("its output is not finite")
    ordered = rows[np.argsort(-rows[:, 4], kind="stable")]
    boxes = boxes_in_source(ordered[:, :4], shape, size)
    return Detections(boxes, ordered[:, 4].copy(), ordered[:, 5].astype(np.int64))


def boxes_in_source(boxes: NDArray[np.float32], shape: tuple[int, int], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return boxes in pixels of the source image, clipped to it; as Ultralytics' ``scale_boxes``.

    >>> import numpy as np
    >>> boxes_in_source(np.array([[0, 70, 320, 250]], np.float32), (320, 320), (360, 640)).tolist()
    [[0.0, 0.0, 640.0, 360.0]]

    Args:
        boxes: (N, 4) float32, x1 y1 x2 y2 in pixels of the network's input.
        shape: height and width of that input.
        size: height and width of the source.
    """
    (height, width), ratio = size, min(shape[0] / size[0], shape[1] / size[1])
    scaled_height, scaled_width = max(round(height * ratio), 1), max(round(width * ratio), 1)
    left = round((shape[1] - scaled_width) / 2 - 0.1)
    top = round((shape[0] - scaled_height) / 2 - 0.1)
    moved = boxes - np.array([left, top] * 2, np.float32)
    moved /= np.array([scaled_width / width, scaled_height / height] * 2, np.float32)
    return np.clip(moved, 0, np.array([width, height] * 2, np.float32))
