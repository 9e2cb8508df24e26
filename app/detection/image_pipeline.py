"""ImagePipeline: pictures detected side by side on the CPU, each by one core from its bytes to its boxes."""

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
from app.detection.letterbox import PADDING, place
from app.detection.outcomes import ImageOutcome
from app.detection.postprocessing import Postprocessor
from app.errors import ModelUnavailable, SightlineError


class ImagePipeline:
    """As many threads as the graph has cores; a picture never waits for another at a layer or at a step."""

    def __init__(self, graph: CpuSession, fit: Fit, postprocess: Postprocessor, model_name: str) -> None:
        self._graph = graph
        self._fit = fit
        self._postprocess = postprocess
        self._model_name = model_name
        self._lone = threading.Lock()
        self._counting = threading.Lock()
        self._taken = 0
        """Lanes that are busy."""
        self._threads = ThreadPoolExecutor(graph.threads, thread_name_prefix="lane") if graph.threads > 1 else None

    def run(self, images: Sequence[bytes], begun: Callable[[], None] = lambda: None) -> list[ImageOutcome]:
        """Detect in encoded images; one image's fault never harms the others.

        Args:
            images: in the order in which lanes take them.
            begun: called from any thread as a lane takes the last one: what is given now finds the next free lane.
                Of a lone picture, which has all cores, it is not called.
        """
        if self._threads is None or (len(images) < 2 and not self._taken):
            return [self._one(data, self._infer_alone) for data in images]
        last = len(images) - 1
        return list(self._threads.map(lambda n: self._take(images[n], begun if n == last else None), range(last + 1)))

    def detect(self, pictures: Sequence[DecodedImage]) -> list[Detections]:
        """Detect in pictures that are decoded already; one's fault is raised."""
        if self._threads is None or len(pictures) < 2:
            return [self._infer_alone(picture) for picture in pictures]
        return list(self._threads.map(self._infer_beside, pictures))

    def warm_up(self, width: int, height: int) -> None:
        """Compile for pictures of a size and run each way once."""
        self._graph.prepare(self._fit(width, height).shape)
        picture = DecodedImage.whole(np.full((height, width, 3), PADDING, np.uint8))
        self._infer_alone(picture)
        if self._threads is not None:
            list(self._threads.map(self._infer_beside, [picture] * self._graph.threads))

    def retune(self, postprocess: Postprocessor) -> None:
        """Report by another choice from the next picture on."""
        self._postprocess = postprocess

    def check(self) -> None:
        """Do nothing: a CPU is there as long as we are."""

    def close(self) -> None:
        """End the threads."""
        if self._threads is not None:
            self._threads.shutdown()

    def _take(self, data: bytes, begun: Callable[[], None] | None) -> ImageOutcome:
        with self._counting:
            self._taken += 1
        try:
            if begun is not None:
                begun()
            return self._one(data, self._infer_beside)
        finally:
            with self._counting:
                self._taken -= 1

    def _one(self, data: bytes, infer: Callable[[DecodedImage], Detections]) -> ImageOutcome:
        picture, decoding = try_decode(data, self._fit)
        if picture is None:
            return outcome(decoding, None, 0.0)
        began = time.perf_counter()
        result: Detections | SightlineError
        try:
            result = infer(picture)
        except Exception as error:  # noqa: BLE001  # the seam: whatever the model raises, it failed on this image
            result = failure(self._model_name, error)
        return outcome(decoding, result, milliseconds_since(began))

    def _infer_alone(self, picture: DecodedImage) -> Detections:
        with self._lone:
            return self._infer(picture, self._graph.alone)

    def _infer_beside(self, picture: DecodedImage) -> Detections:
        return self._infer(picture, self._graph.beside)

    def _infer(self, picture: DecodedImage, run: Callable[[NDArray[np.uint8]], Output]) -> Detections:
        box = self._fit(picture.width, picture.height)
        filled = np.empty((*box.shape, 3), np.uint8)
        place(picture.pixels, box, filled)
        output = run(filled)
        if output.ndim != 2:
            raise ModelUnavailable(f"the model {self._model_name!r} is no detection model: it gives {output.shape}")
        postprocess = self._postprocess
        rows = postprocess.select_one(output)
        return postprocess.to_source([rows], box.shape, [(picture.height, picture.width)])[0]
