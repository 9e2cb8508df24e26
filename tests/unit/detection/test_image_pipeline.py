"""Lanes with a graph that waits to be told: who runs beside whom, and when the next pictures may come."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from app.detection.cpu_session import Output, Picture
from app.detection.image_pipeline import ImagePipeline
from app.detection.letterbox import fit
from app.detection.options import DetectorOptions
from app.detection.postprocessing import Postprocessor
from tests.support.waiting import wait_for

JPEG = cv2.imencode(".jpg", np.full((32, 32, 3), 90, np.uint8))[1].tobytes()


class HeldGraph:
    """Sees nothing, and holds each picture until it is let go."""

    threads = 2

    def __init__(self) -> None:
        self.alone_calls = 0
        self.beside_calls = 0
        self.let_go = threading.Semaphore(0)

    def prepare(self, shape: tuple[int, int]) -> None:
        """Do nothing."""

    def alone(self, picture: Picture) -> Output:
        self.alone_calls += 1
        return self._wait()

    def beside(self, picture: Picture) -> Output:
        self.beside_calls += 1
        return self._wait()

    def _wait(self) -> Output:
        assert self.let_go.acquire(timeout=30)
        return np.zeros((0, 6), np.float32)


@pytest.fixture
def graph() -> HeldGraph:
    return HeldGraph()


@pytest.fixture
def lanes(graph: HeldGraph):
    postprocess = Postprocessor(DetectorOptions("any.pt"), None, True)
    lanes = ImagePipeline(graph, lambda width, height: fit(width, height, (32, 32), 32, False), postprocess, "any.pt")
    yield lanes
    graph.let_go.release(100)
    lanes.close()


@pytest.fixture
def caller():
    with ThreadPoolExecutor(4) as threads:
        yield threads


def test_the_next_may_come_once_a_lane_has_the_last_picture(
    graph: HeldGraph, lanes: ImagePipeline, caller: ThreadPoolExecutor
):
    begun = threading.Event()
    running = caller.submit(lanes.run, [JPEG] * 3, begun.set)
    wait_for(lambda: graph.beside_calls == 2, 30, "two pictures on their lanes")
    assert not begun.is_set()
    graph.let_go.release()
    assert begun.wait(30)
    assert not running.done()
    graph.let_go.release(2)
    assert [outcome.error for outcome in running.result(30)] == [None] * 3


def test_a_lone_picture_has_every_core_and_the_next_waits_for_its_end(
    graph: HeldGraph, lanes: ImagePipeline, caller: ThreadPoolExecutor
):
    begun = threading.Event()
    running = caller.submit(lanes.run, [JPEG], begun.set)
    wait_for(lambda: graph.alone_calls == 1, 30, "the picture on all cores")
    graph.let_go.release()
    running.result(30)
    assert not begun.is_set()
    assert graph.beside_calls == 0


def test_a_lone_picture_takes_a_lane_where_others_are_on_theirs(
    graph: HeldGraph, lanes: ImagePipeline, caller: ThreadPoolExecutor
):
    first = caller.submit(lanes.run, [JPEG] * 2)
    wait_for(lambda: graph.beside_calls == 2, 30, "two pictures on their lanes")
    second = caller.submit(lanes.run, [JPEG])
    graph.let_go.release(3)
    assert [len(running.result(30)) for running in (first, second)] == [2, 1]
    assert (graph.beside_calls, graph.alone_calls) == (3, 0)


def test_what_cannot_be_decoded_leaves_its_lane_to_the_next(
    graph: HeldGraph, lanes: ImagePipeline, caller: ThreadPoolExecutor
):
    graph.let_go.release(2)
    outcomes = caller.submit(lanes.run, [b"", JPEG, b"no picture", JPEG]).result(30)
    assert [outcome.error is None for outcome in outcomes] == [False, True, False, True]
