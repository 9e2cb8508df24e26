"""The image pipeline with a session that the test releases: what runs at the same time, and when more may come."""

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


class HeldSession:
    """Finds nothing, and holds each picture until it is released."""

    threads = 2

    def __init__(self) -> None:
        self.all_cores_calls = 0
        self.one_core_calls = 0
        self.released = threading.Semaphore(0)

    def prepare(self, shape: tuple[int, int]) -> None:
        """Do nothing."""

    def run_on_all_cores(self, picture: Picture) -> Output:
        self.all_cores_calls += 1
        return self._wait()

    def run_on_one_core(self, picture: Picture) -> Output:
        self.one_core_calls += 1
        return self._wait()

    def _wait(self) -> Output:
        assert self.released.acquire(timeout=30)
        return np.zeros((0, 6), np.float32)


@pytest.fixture
def session() -> HeldSession:
    return HeldSession()


@pytest.fixture
def pipeline(session: HeldSession):
    postprocess = Postprocessor(DetectorOptions("any.pt"), None, True)
    pipeline = ImagePipeline(
        session, lambda width, height: fit(width, height, (32, 32), 32, False), postprocess, "any.pt"
    )
    yield pipeline
    session.released.release(100)
    pipeline.close()


@pytest.fixture
def caller():
    with ThreadPoolExecutor(4) as threads:
        yield threads


def test_the_next_may_come_once_a_thread_has_the_last_picture(
    session: HeldSession, pipeline: ImagePipeline, caller: ThreadPoolExecutor
):
    begun = threading.Event()
    running = caller.submit(pipeline.run, [JPEG] * 3, begun.set)
    wait_for(lambda: session.one_core_calls == 2, 30, "two pictures in their threads")
    assert not begun.is_set()
    session.released.release()
    assert begun.wait(30)
    assert not running.done()
    session.released.release(2)
    assert [outcome.error for outcome in running.result(30)] == [None] * 3


def test_a_single_picture_has_every_core_and_the_next_waits_for_its_end(
    session: HeldSession, pipeline: ImagePipeline, caller: ThreadPoolExecutor
):
    begun = threading.Event()
    running = caller.submit(pipeline.run, [JPEG], begun.set)
    wait_for(lambda: session.all_cores_calls == 1, 30, "the picture on all cores")
    session.released.release()
    running.result(30)
    assert not begun.is_set()
    assert session.one_core_calls == 0


def test_a_single_picture_takes_one_core_where_others_are_running(
    session: HeldSession, pipeline: ImagePipeline, caller: ThreadPoolExecutor
):
    first = caller.submit(pipeline.run, [JPEG] * 2)
    wait_for(lambda: session.one_core_calls == 2, 30, "two pictures in their threads")
    second = caller.submit(pipeline.run, [JPEG])
    session.released.release(3)
    assert [len(running.result(30)) for running in (first, second)] == [2, 1]
    assert (session.one_core_calls, session.all_cores_calls) == (3, 0)


def test_what_cannot_be_decoded_leaves_its_thread_to_the_next(
    session: HeldSession, pipeline: ImagePipeline, caller: ThreadPoolExecutor
):
    session.released.release(2)
    outcomes = caller.submit(pipeline.run, [b"", JPEG, b"no picture", JPEG]).result(30)
    assert [outcome.error is None for outcome in outcomes] == [False, True, False, True]
