"""The plain class behind the deployment, with models that hold each batch until the test ends it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import fields
from typing import Any

import cv2
import numpy as np
import pytest

from app.core.clock import Clock
from app.core.wanted import Wanted
from app.detection import DetectorOptions, ImageOutcome, NoOpDetector, make_no_op_detector
from app.detection.detections import Detections
from app.detection.messages import DetectorAnswer, DetectorJob
from app.errors import ImageError, ModelUnavailable
from app.settings.settings import DetectorSettings
from deployments.detector import ObjectDetector
from tests.support.waiting import until


class Run:
    """One batch in a model."""

    def __init__(self, images: Sequence[bytes], begun: Callable[[], None]) -> None:
        self.begun = begun
        """Says that the next batch may come."""
        self.outcomes = tuple(ImageOutcome(Detections.empty(), None, 16, 16, 0.0, 0.0) for _ in images)
        self.over = False
        self._fault: Exception | None = None
        self._reported = threading.Event()

    def end(self, fault: Exception | None = None) -> None:
        """Have it answer, or raise."""
        self._fault = fault
        self._reported.set()

    def last(self) -> list[ImageOutcome]:
        assert self._reported.wait(30)
        self.over = True
        if self._fault is not None:
            raise self._fault
        return list(self.outcomes)


class HeldModel(NoOpDetector):
    """A model each of whose runs lasts until the test ends it."""

    def __init__(self, name: str) -> None:
        self.model_name = self.form = name
        self.runs: list[Run] = []
        self.warm = self.closed = self.lost = False
        self.cut_off: list[Run] = []
        """What was still under way when it was closed."""
        self._open = False

    def run(
        self, images: Sequence[bytes], begun: Callable[[], None] = lambda: None, wanted: Sequence[Wanted] = ()
    ) -> list[ImageOutcome]:
        if self.closed:
            raise RuntimeError("it is closed")
        run = Run(images, begun)
        self.runs.append(run)
        if self._open:
            run.end()
        return run.last()

    def warm_up(self) -> None:
        self.warm = True

    def check(self) -> None:
        if self.lost:
            raise ModelUnavailable("the GPU is lost")

    def close(self) -> None:
        self.cut_off = [run for run in self.runs if not run.over]
        self.closed = True

    def let_go(self) -> None:
        """End everything, also what is still to come; a test that failed may have left runs behind."""
        self._open = True
        for run in list(self.runs):
            run.end()


class Hand:
    """A clock's hand that the test moves."""

    now = 100.0


# Asynchronous, as the event loop must still be there: it closes no sooner than its threads have ended.
@pytest.fixture
async def old() -> AsyncIterator[HeldModel]:
    model = HeldModel("old.pt")
    yield model
    model.let_go()


@pytest.fixture
async def new() -> AsyncIterator[HeldModel]:
    model = HeldModel("new.pt")
    yield model
    model.let_go()


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
async def replica(old: HeldModel, new: HeldModel, hand: Hand) -> Any:
    """A replica that runs the old model and knows where to get the new one."""
    models = {model.model_name: model for model in (old, new)}
    replica = ObjectDetector.func_or_class(
        DetectorOptions(old.model_name),
        make=lambda options: models[options.model],
        clock=Clock(monotonic=lambda: hand.now),
    )
    await replica.reconfigure(None)
    return replica


@pytest.fixture(autouse=True)
def lines_of_app() -> Iterator[None]:
    """A replica hands the lines of ``app`` on to Serve; the tests after these look for them where they were."""
    ours = logging.getLogger("app")
    level, propagate, handlers = ours.level, ours.propagate, list(ours.handlers)
    yield
    ours.setLevel(level)
    ours.propagate = propagate
    ours.handlers[:] = handlers


def ask(replica: Any, images: int = 1) -> asyncio.Task[DetectorAnswer]:
    return asyncio.create_task(replica.detect([DetectorJob(b"", remaining_s=60.0)] * images))


async def run_of(model: HeldModel, number: int) -> Run:
    """Wait until the model has had so many runs, and return the last of them."""
    await until(lambda: len(model.runs) >= number)
    return model.runs[number - 1]


async def until_it_answers(replica: Any, model: HeldModel) -> None:
    async with asyncio.timeout(10):
        while (await replica.describe()).name != model.model_name:
            await asyncio.sleep(0.001)


async def settled() -> None:
    """Let whatever can go on do so, in the event loop and in threads, where the point is that something does not."""
    for _ in range(10):
        await asyncio.to_thread(lambda: None)


async def answer_of(task: asyncio.Task[DetectorAnswer]) -> DetectorAnswer:
    return await asyncio.wait_for(task, 10)


# Batches that overlap


async def test_the_next_batch_begins_as_soon_as_the_one_before_has_begun_with_all_its_pictures(
    replica: Any, old: HeldModel
):
    first = ask(replica, 3)
    one = await run_of(old, 1)
    second = ask(replica, 2)
    one.begun()
    two = await run_of(old, 2)
    two.end()
    assert (await answer_of(second)).outcomes == two.outcomes
    assert not first.done()
    one.end()
    assert (await answer_of(first)).outcomes == one.outcomes


async def test_a_batch_that_never_says_it_has_begun_keeps_the_next_one_waiting_until_it_ends(
    replica: Any, old: HeldModel
):
    first = ask(replica)
    one = await run_of(old, 1)
    second = ask(replica)
    await settled()
    assert old.runs == [one]
    one.end()
    await answer_of(first)
    two = await run_of(old, 2)
    two.end()
    assert (await answer_of(second)).outcomes == two.outcomes


async def test_a_run_that_raises_lets_the_next_batch_begin(replica: Any, old: HeldModel):
    first = ask(replica)
    one = await run_of(old, 1)
    second = ask(replica)
    one.end(MemoryError("no room"))
    with pytest.raises(MemoryError):
        await answer_of(first)
    two = await run_of(old, 2)
    two.end()
    assert (await answer_of(second)).outcomes == two.outcomes


# How long the detector was busy with them


async def busy_s(replica: Any, model: HeldModel, hand: Hand, ends: Sequence[int]) -> list[float]:
    """Run a batch from 100 s on and another from 101 s on, end one at 103 s and the last at 105 s."""
    batches = [ask(replica)]
    (await run_of(model, 1)).begun()
    hand.now = 101.0
    batches.append(ask(replica))
    await run_of(model, 2)
    for hand.now, number in zip((103.0, 105.0), ends, strict=True):
        model.runs[number].end()
        await answer_of(batches[number])
    return [batch.result().busy_s for batch in batches]


async def test_a_batch_that_began_beside_another_counts_from_the_end_of_that_one(
    replica: Any, old: HeldModel, hand: Hand
):
    assert await busy_s(replica, old, hand, ends=(0, 1)) == [3.0, 2.0]


async def test_batches_that_overtake_each_other_add_up_to_no_more_than_they_took_together(
    replica: Any, old: HeldModel, hand: Hand
):
    assert 0 < sum(await busy_s(replica, old, hand, ends=(1, 0))) <= 5.0


async def test_the_time_between_two_batches_counts_for_neither(replica: Any, old: HeldModel, hand: Hand):
    busy = []
    for number, began, ended in ((1, 100.0, 101.0), (2, 110.0, 112.0)):
        hand.now = began
        batch = ask(replica)
        run = await run_of(old, number)
        hand.now = ended
        run.end()
        busy.append((await answer_of(batch)).busy_s)
    assert busy == [1.0, 2.0]


async def test_a_batch_of_which_nothing_was_in_time_takes_nothing_from_the_time_of_another(
    replica: Any, old: HeldModel, hand: Hand
):
    first = ask(replica)
    one = await run_of(old, 1)
    one.begun()
    hand.now = 102.0
    late = await replica.detect([DetectorJob(b"", remaining_s=0.0)])
    hand.now = 103.0
    one.end()
    assert (late.busy_s, (await answer_of(first)).busy_s) == (0.0, 3.0)


# Another model


async def test_another_model_takes_over_and_the_old_one_is_closed_once_the_batches_in_it_have_ended(
    replica: Any, old: HeldModel, new: HeldModel
):
    batches = []
    for number in (1, 2):
        batches.append(ask(replica))
        (await run_of(old, number)).begun()
    await replica.reconfigure({"model": new.model_name})
    await until_it_answers(replica, new)
    batches.append(ask(replica))
    for run, batch in zip(list(old.runs), batches, strict=False):
        await settled()
        assert not old.closed
        run.end()
        await answer_of(batch)
    await until(lambda: old.closed)
    assert old.cut_off == []
    (await run_of(new, 1)).end()
    answers = [await answer_of(batch) for batch in batches]
    assert [answer.model.name for answer in answers] == ["old.pt", "old.pt", "new.pt"]
    assert [answer.outcomes for answer in answers] == [run.outcomes for run in [*old.runs, *new.runs]]
    assert not new.closed


async def test_a_run_that_raises_lets_the_exchange_of_its_model_go_on(replica: Any, old: HeldModel, new: HeldModel):
    first = ask(replica)
    one = await run_of(old, 1)
    one.begun()
    await replica.reconfigure({"model": new.model_name})
    await until_it_answers(replica, new)
    second = ask(replica)
    one.end(MemoryError("no room"))
    with pytest.raises(MemoryError):
        await answer_of(first)
    await until(lambda: old.closed)
    (await run_of(new, 1)).end()
    assert (await answer_of(second)).model.name == "new.pt"


async def test_a_batch_that_waits_together_with_an_exchange_of_the_model_never_runs_in_the_one_that_is_closed(
    replica: Any, old: HeldModel, new: HeldModel
):
    first = ask(replica)
    await run_of(old, 1)
    await replica.reconfigure({"model": new.model_name})
    await until(lambda: new.warm)
    await settled()
    second = ask(replica)
    await settled()
    for model in (old, new):
        model.let_go()
    answers = [await answer_of(batch) for batch in (first, second)]
    assert [answer.outcomes for answer in answers] == [run.outcomes for run in [*old.runs, *new.runs]]
    await until(lambda: old.closed)


async def test_who_goes_back_to_the_old_model_while_the_new_one_waits_keeps_the_old_one(
    replica: Any, old: HeldModel, new: HeldModel
):
    first = ask(replica)
    one = await run_of(old, 1)  # it has not begun with all: the exchange must wait
    await replica.reconfigure({"model": new.model_name})
    await until(lambda: new.warm)
    await settled()
    await replica.reconfigure({"model": old.model_name})
    one.end()
    await answer_of(first)
    await until(lambda: new.closed)
    assert (await replica.describe()).name == old.model_name
    assert not old.closed


async def test_a_model_is_not_closed_under_a_batch_whose_caller_has_gone(replica: Any, old: HeldModel, new: HeldModel):
    first = ask(replica)
    one = await run_of(old, 1)
    one.begun()
    await settled()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await replica.reconfigure({"model": new.model_name})
    await until_it_answers(replica, new)
    await settled()
    assert not old.closed
    one.end()
    await until(lambda: old.closed)
    assert old.cut_off == []


# A device that is lost


async def test_serve_is_reported_when_the_device_is_lost_to_the_process(replica: Any, old: HeldModel):
    await replica.check_health()
    old.lost = True
    with pytest.raises(ModelUnavailable, match="the GPU is lost"):
        await replica.check_health()


async def test_a_replica_that_has_no_model_yet_is_not_ill():
    await ObjectDetector.func_or_class(DetectorOptions("any.pt")).check_health()


# The no-op detector


async def test_a_replica_of_the_no_op_detector_answers_each_image_and_takes_a_user_config_like_any_other():
    replica = ObjectDetector.func_or_class(DetectorOptions("any.pt"), make=make_no_op_detector)
    await replica.reconfigure({"confidence": 0.5})
    await replica.reconfigure({"confidence": 0.6})
    picture = cv2.imencode(".png", np.zeros((20, 30, 3), np.uint8))[1].tobytes()
    answer = await replica.detect([DetectorJob(picture, remaining_s=60.0), DetectorJob(b"none", remaining_s=60.0)])
    found, refused = answer.outcomes
    assert (found.width, found.height, found.error) == (30, 20, None)
    assert isinstance(refused.error, ImageError)
    assert answer.model.name == "no-op"


# The options


def test_the_options_are_those_of_the_settings_field_by_field():
    """Every setting of the detector that an option is named after differs from the default here."""
    settings = DetectorSettings(
        model="m.pt",
        model_sha256="0" * 64,
        device="cuda:1",
        confidence=0.1,
        iou=0.2,
        classes=("car",),
        image_size=320,
        max_detections=100,
        use_export=False,
        gpu_decode=False,
        half=False,
    )
    options = DetectorOptions.of(settings, threads=3)
    shared = {field.name for field in fields(DetectorOptions)} & set(DetectorSettings.model_fields)
    usual = DetectorSettings()
    for name in shared:
        assert getattr(options, name) == getattr(settings, name) != getattr(usual, name)
    assert options.threads == 3
    assert DetectorOptions.of(settings, device="cpu").device == "cpu"
