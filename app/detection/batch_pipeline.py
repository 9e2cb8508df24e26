"""BatchPipeline: pictures detected together, in one call of the network for each shape of its input."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch

from app.core.image_header import ImageHeader
from app.detection.batch_loader import Batch, CpuLoader, Loader, load_all, portions, read_headers
from app.detection.decoding import DecodedImage
from app.detection.detections import Detections
from app.detection.gpu_batch_loader import GpuLoader
from app.detection.image_steps import Decoding, Fit, failure, milliseconds_since, outcome
from app.detection.letterbox import PADDING, resize_into
from app.detection.models.network import Network
from app.detection.options import DetectorOptions
from app.detection.outcomes import ImageOutcome
from app.detection.postprocessing import Postprocessor
from app.detection.runners import CpuRunner, GpuRunner, Runner
from app.errors import ImageError, SightlineError


def _ignore() -> None:
    """Do nothing."""


def make_batch_pipeline(
    network: Network, fit: Fit, options: DetectorOptions, postprocess: Postprocessor
) -> BatchPipeline:
    """Return the pipeline of a network that takes batches, with the loader and the runner of its device."""
    if network.device.type != "cuda":
        return BatchPipeline(fit, CpuLoader(fit), CpuRunner(network), postprocess, network.name)
    loader = GpuLoader(fit, network.device, options.gpu_decode)
    return BatchPipeline(fit, loader, GpuRunner(network), postprocess, network.name)


class BatchPipeline:
    """Loads the next images while the network runs those before; one image's error does not affect the others."""

    def __init__(self, fit: Fit, loader: Loader, runner: Runner, postprocess: Postprocessor, model_name: str) -> None:
        self._fit = fit
        self._loader = loader
        self._runner = runner
        self._postprocess = postprocess
        self._model_name = model_name

    def run(
        self,
        images: Sequence[bytes],
        begun: Callable[[], None] = _ignore,
        chosen: Sequence[Postprocessor | None] = (),
    ) -> list[ImageOutcome]:
        """Detect in encoded images.

        Args:
            images: of any sizes.
            begun: called once the last of them are decoded and wait for nothing but the device.
            chosen: what chooses the detections of each; ``None``, or empty: what does so for all.
        """
        own = chosen or [None] * len(images)
        headers = read_headers(images)
        parts = list(portions(headers))
        return [
            outcome
            for part in parts
            for outcome in self._run(images[part], headers[part], own[part], begun if part is parts[-1] else _ignore)
        ]

    def detect(self, pictures: Sequence[DecodedImage]) -> list[Detections]:
        """Detect in pictures that are decoded already, one by one where shapes differ; an error of one is raised."""
        boxes = [self._fit(picture.width, picture.height) for picture in pictures]
        if len({box.shape for box in boxes}) > 1:
            return [self.detect([picture])[0] for picture in pictures]
        pixels = torch.empty((len(pictures), *boxes[0].shape, 3), dtype=torch.uint8)
        for picture, box, target in zip(pictures, boxes, pixels.numpy(), strict=True):
            resize_into(picture.pixels, box, target)
        batch = Batch(pixels.to(self._runner.device), [(picture.height, picture.width) for picture in pictures])
        return self._detect(batch, [self._postprocess] * len(pictures))

    def warm_up(self, width: int, height: int) -> None:
        """Prepare the runner for pictures of a size, and detect in one.

        Raises:
            SightlineError: that failed.
        """
        self._runner.prepare(self._fit(width, height).shape)
        gray = cv2.imencode(".jpg", np.full((height, width, 3), PADDING, np.uint8))[1].tobytes()
        for each in self.run([gray]):
            if each.error is not None:
                raise each.error

    def retune(self, postprocess: Postprocessor) -> None:
        """Use another postprocessor from the next batch on."""
        self._postprocess = postprocess

    def check(self) -> None:
        """Check the device; raise RuntimeError where it no longer works."""
        self._runner.check()

    def close(self) -> None:
        """End the decoding threads, and release the device's memory."""
        self._loader.close()
        self._runner.close()

    def _run(
        self,
        images: Sequence[bytes],
        headers: Sequence[ImageHeader | ImageError],
        own: Sequence[Postprocessor | None],
        begun: Callable[[], None],
    ) -> list[ImageOutcome]:
        try:
            loaded, decodings = load_all(images, headers, self._fit, self._loader)
        except Exception as error:  # noqa: BLE001  # the seam: a device's memory may be short for these images
            if len(images) > 1:
                return [self._run([image], [header], [each], _ignore)[0]
                        for image, header, each in zip(images, headers, own, strict=True)]  # fmt: skip
            return [outcome(Decoding(0, 0, None, 0.0), failure(self._model_name, error), 0.0)]
        begun()
        outcomes: dict[int, ImageOutcome] = {}
        for each in loaded:
            postprocess = [own[index] or self._postprocess for index in each.members]
            for index, (result, spent) in zip(each.members, self._attempt(each.batch, postprocess), strict=True):
                if decodings[index].error is None:
                    outcomes[index] = outcome(decodings[index], result, spent)
        return [outcomes.get(index) or outcome(decoding, None, 0.0) for index, decoding in enumerate(decodings)]

    def _attempt(
        self, batch: Batch, postprocess: Sequence[Postprocessor]
    ) -> list[tuple[Detections | SightlineError, float]]:
        """Run a batch; where that fails, run its pictures one by one, so that only the cause fails."""
        began = time.perf_counter()
        try:
            found: list[Detections | SightlineError] = list(self._detect(batch, postprocess))
        except Exception as error:  # noqa: BLE001  # the seam: whatever the model raises, it failed on these images
            if len(batch.sizes) > 1:
                return [self._attempt(batch.one(index), [each])[0] for index, each in enumerate(postprocess)]
            found = [failure(self._model_name, error)]
        spent = milliseconds_since(began)
        return [(each, spent) for each in found]

    def _detect(self, batch: Batch, postprocess: Sequence[Postprocessor]) -> list[Detections]:
        rows = self._runner.run(batch, postprocess)
        return [
            each.to_source([found], batch.shape, [size])[0]
            for each, found, size in zip(postprocess, rows, batch.sizes, strict=True)
        ]
