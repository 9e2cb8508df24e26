"""From a network's output to detections in pixels of the source image, by Ultralytics' own functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from app.detection.detections import Detections
from app.detection.options import DetectorOptions

MAX_WEAK = 100
"""Weak boxes of an image at most, best first."""
_MAX_CANDIDATES, _CLASS_OFFSET = 30_000, 7680  # of Ultralytics' own non_max_suppression


def top_anchors(output: torch.Tensor, limit: int) -> torch.Tensor:
    """Return the best-scored anchors of each image, on the device and without waiting for it.

    Args:
        output: (N, 4 + classes, anchors), of a network without NMS.
        limit: anchors of each image at most.

    Returns:
        (N, at most ``limit``, 6) float32: x1 y1 x2 y2 in pixels of the network's input, score, class id; best first.
    """
    best, classes = output[:, 4:].max(1)
    scores, chosen = best.topk(min(limit, best.shape[1]), 1)
    boxes = output[:, :4].gather(2, chosen[:, None].expand(-1, 4, -1)).float()
    middle, half = boxes[:, :2], boxes[:, 2:] / 2
    columns = [middle - half, middle + half, scores[:, None].float(), classes.gather(1, chosen)[:, None].float()]
    return torch.cat(columns, 1).transpose(1, 2).contiguous()


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
        from torchvision.ops import nms

        rows = rows[np.argsort(-rows[:, 4], kind="stable")[:_MAX_CANDIDATES]]
        if len(rows) < 2:
            return rows
        # Boxes of different classes are moved away from each other, so that they cannot overlap.
        apart = rows[:, :4] + rows[:, 5:] * _CLASS_OFFSET
        winners = nms(torch.from_numpy(apart), torch.from_numpy(rows[:, 4].copy()), self._options.iou)
        return np.asarray(rows[winners.numpy()], np.float32)

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


def _to_source(rows: NDArray[np.float32], shape: tuple[int, int], size: tuple[int, int]) -> Detections:
    from ultralytics.utils.ops import scale_boxes

    if not len(rows):
        return Detections.empty()
    if not np.isfinite(rows).all():
        raise ValueError("its output is not finite")
    ordered = rows[np.argsort(-rows[:, 4], kind="stable")]
    boxes = scale_boxes(shape, ordered[:, :4].copy(), size)
    return Detections(boxes, ordered[:, 4].copy(), ordered[:, 5].astype(np.int64))
