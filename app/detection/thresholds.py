"""Thresholds: what of a network's output is reported."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """What may be changed of a detector that is running."""

    confidence: float
    """Detections with a lower score are left out; from 0 to 1."""
    iou: float
    """Of two boxes of one class that overlap more, the better stays; from 0 to 1."""
    classes: tuple[str, ...]
    """Labels to keep; empty: all."""
