"""ImagePipeline: pictures detected in parallel on the CPU, each by one core from its bytes to its boxes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from app.detection.cpu_session import CpuSession, Output
from app.detection.decoding import DecodedImage
from app.detection.detections import Detections
from app.detection.image_steps import Fit, failure, milliseconds_since, outcome, try_decode
from app.detection.letterbox import PADDING, resize_into
from app.detection.outcomes import ImageOutcome
from app.detection.postprocessing import Postprocessor
from app.errors import SightlineError


class ImagePipeline:
    """As many threads as the session has cores; a picture never waits for another at a layer or at a step."""

    def __init__(self, session: CpuSession, fit: Fit, postprocess: Postprocessor, model_name: str) -> None:
        self._session = session
        self._fit = fit
        self._postprocess = postprocess
        self._model_name = model_name
        self._on_all_cores = threading.Lock()
        self._counting = threading.Lock()
        self._busy = 0
        """Pictures that have a thread."""
        self._threads = (
            ThreadPoolExecutor(session.threads, thread_name_prefix="detect") if session.threads > 1 else None
        )

    def run(
        self,
        images: Sequence[bytes],
        begun: Callable[[], None] = lambda: None,
        chosen: Sequence[Postprocessor | None] = (),
    ) -> list[ImageOutcome]:
        """Detect in encoded images; one image's error does not affect the others.

        Args:
            images: in the order in which threads take them.
            begun: called from any thread as a thread takes the last one: what comes now gets the next free thread. Not
                called for a single picture, which has all cores.
            chosen: what chooses the detections of each; ``None``, or empty: what does so for all.
        """
        own = chosen or [None] * len(images)
        if self._threads is None or (len(images) < 2 and not self._busy):
            return [self._one(data, self._infer_on_all_cores, each) for data, each in zip(images, own, strict=True)]
        begin = [None] * (len(images) - 1) + [begun]
        return list(self._threads.map(self._take, images, begin, own))

    def detect(self, pictures: Sequence[DecodedImage]) -> list[Detections]:
        """Detect in pictures that are decoded already; an error of one is raised."""
        if self._threads is None or len(pictures) < 2:
            return [self._infer_on_all_cores(picture, self._postprocess) for picture in pictures]
        return list(self._threads.map(self._infer_on_one_core, pictures, [self._postprocess] * len(pictures)))

    def warm_up(self, width: int, height: int) -> None:
        """Compile for pictures of a size, and run one on all cores and one on each."""
        self._session.prepare(self._fit(width, height).shape)
        picture = DecodedImage.whole(np.full((height, width, 3), PADDING, np.uint8))
        self._infer_on_all_cores(picture, self._postprocess)
        if self._threads is not None:
            count = self._session.threads
            list(self._threads.map(self._infer_on_one_core, [picture] * count, [self._postprocess] * count))

    def retune(self, postprocess: Postprocessor) -> None:
        """Use another postprocessor from the next picture on."""
        self._postprocess = postprocess

    def check(self) -> None:
        """Do nothing: a CPU does not fail apart from its process."""

    def close(self) -> None:
        """End the threads."""
        if self._threads is not None:
            self._threads.shutdown()

    def _take(self, data: bytes, begun: Callable[[], None] | None, own: Postprocessor | None) -> ImageOutcome:
        with self._counting:
            self._busy += 1
        try:
            if begun is not None:
                begun()
            return self._one(data, self._infer_on_one_core, own)
        finally:
            with self._counting:
                self._busy -= 1

    def _one(
        self,
        data: bytes,
        infer: Callable[[DecodedImage, Postprocessor], Detections],
        own: Postprocessor | None,
    ) -> ImageOutcome:
        picture, decoding = try_decode(data, self._fit)
        if picture is None:
            return outcome(decoding, None, 0.0)
        began = time.perf_counter()
        result: Detections | SightlineError
        try:
            result = infer(picture, own or self._postprocess)
        except Exception as error:  # noqa: BLE001  # the seam: whatever the model raises, it failed on this image
            result = failure(self._model_name, error)
        return outcome(decoding, result, milliseconds_since(began))

    def _infer_on_all_cores(self, picture: DecodedImage, postprocess: Postprocessor) -> Detections:
        with self._on_all_cores:
            return self._infer(picture, postprocess, self._session.run_on_all_cores)

    def _infer_on_one_core(self, picture: DecodedImage, postprocess: Postprocessor) -> Detections:
        return self._infer(picture, postprocess, self._session.run_on_one_core)

    def _infer(
        self, picture: DecodedImage, postprocess: Postprocessor, run: Callable[[NDArray[np.uint8]], Output]
    ) -> Detections:
        box = self._fit(picture.width, picture.height)
        filled = np.empty((*box.shape, 3), np.uint8)
        resize_into(picture.pixels, box, filled)
        output = run(filled)
        rows = postprocess.select(output)
        return postprocess.to_source([rows], box.shape, [(picture.height, picture.width)])[0]
