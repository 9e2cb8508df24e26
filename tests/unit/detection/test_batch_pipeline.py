"""Batches with a loader and a runner of the test: what fails where, and when the next batch may come."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from app.core.image_header import ImageHeader
from app.detection.batch_loader import Batch
from app.detection.batch_pipeline import BatchPipeline
from app.detection.image_steps import Decoding
from app.detection.letterbox import Letterbox, fit
from app.detection.options import DetectorOptions
from app.detection.postprocessing import Postprocessor
from app.errors import ImageError, InferenceFailed
from tests.support.scenes import png, scene

WIDE, TALL, LARGE = png(scene(64, 32)), png(scene(32, 64)), png(scene(96, 48))
"""The large one is letterboxed to the shape of the wide one."""


def fitted(width: int, height: int) -> Letterbox:
    return fit(width, height, (64, 64), 32, rectangular=True)


class ShortOfMemory:
    """A loader that has none for a large picture."""

    def __init__(self, events: list[str]) -> None:
        self._events = events
        self.closed = False

    def load(self, images: Sequence[bytes], headers: Sequence[ImageHeader]) -> tuple[Batch, list[Decoding]]:
        if LARGE in images:
            raise RuntimeError("out of memory:\ntried to allocate 1 GB")
        self._events.append(f"loaded {len(images)}")
        shape = fitted(headers[0].width, headers[0].height).shape
        pixels = torch.zeros((len(images), *shape, 3), dtype=torch.uint8)
        sizes = [(header.height, header.width) for header in headers]
        return Batch(pixels, sizes), [Decoding(header.width, header.height, None, 1.0) for header in headers]

    def close(self) -> None:
        self.closed = True


class SeesOne:
    """A runner that sees one object in each picture, and is asked how it is."""

    def __init__(self, events: list[str]) -> None:
        self._events = events
        self.device = torch.device("cpu")
        self.lost = self.closed = False

    def prepare(self, shape: tuple[int, int]) -> None:
        self._events.append(f"prepared {shape}")

    def run(self, batch: Batch, postprocess: Sequence[Postprocessor]) -> list[np.ndarray]:
        self._events.append(f"ran {len(batch.sizes)}")
        return [np.array([[1, 2, 11, 12, 0.9, 0]], np.float32) for _ in batch.sizes]

    def close(self) -> None:
        self.closed = True

    def check(self) -> None:
        if self.lost:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def loader(events: list[str]) -> ShortOfMemory:
    return ShortOfMemory(events)


@pytest.fixture
def runner(events: list[str]) -> SeesOne:
    return SeesOne(events)


@pytest.fixture
def batches(loader: ShortOfMemory, runner: SeesOne) -> BatchPipeline:
    return BatchPipeline(fitted, loader, runner, Postprocessor(DetectorOptions("any.pt"), None, True), "any.pt")


def test_the_next_batch_may_come_once_all_shapes_are_loaded_and_before_any_is_run(
    batches: BatchPipeline, events: list[str]
) -> None:
    outcomes = batches.run([WIDE, TALL, WIDE], lambda: events.append("begun"))
    assert events == ["loaded 2", "loaded 1", "begun", "ran 2", "ran 1"]
    assert [(outcome.width, outcome.height) for outcome in outcomes] == [(64, 32), (32, 64), (64, 32)]
    assert [len(outcome.detections or ()) for outcome in outcomes] == [1, 1, 1]


def test_an_image_for_which_the_device_has_no_memory_fails_alone(batches: BatchPipeline) -> None:
    outcomes = batches.run([WIDE, LARGE, b"none", TALL])
    assert [type(outcome.error) for outcome in outcomes] == [type(None), InferenceFailed, ImageError, type(None)]
    assert "out of memory: tried to allocate 1 GB" in str(outcomes[1].error)
    assert [outcome.detections is None for outcome in outcomes] == [False, True, True, False]


def test_what_is_left_when_all_headers_are_refused_is_neither_loaded_nor_run(
    batches: BatchPipeline, events: list[str]
) -> None:
    outcomes = batches.run([b"", b"none"], lambda: events.append("begun"))
    assert events == ["begun"]
    assert [type(outcome.error) for outcome in outcomes] == [ImageError, ImageError]


def test_warming_up_prepares_the_shape_and_detects_once(batches: BatchPipeline, events: list[str]) -> None:
    batches.warm_up(1280, 720)
    assert events == ["prepared (64, 64)", "loaded 1", "ran 1"]


def test_a_lost_device_is_reported_and_all_is_closed(
    batches: BatchPipeline, loader: ShortOfMemory, runner: SeesOne
) -> None:
    batches.check()
    runner.lost = True
    with pytest.raises(RuntimeError, match="illegal memory access"):
        batches.check()
    batches.close()
    assert loader.closed
    assert runner.closed
