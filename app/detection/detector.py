"""Detector: encoded images of any sizes in, detections in pixels of each image out (design, decision 11)."""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch

from app.detection.decoding import DecodedImage
from app.detection.images import DecodeResult, failure, line_of, milliseconds_since, outcome, try_decode
from app.detection.lanes import Lanes
from app.detection.letterbox import PADDING, Letterbox, fit, place
from app.detection.network import Network
from app.detection.options import DetectorOptions
from app.detection.outcomes import ImageOutcome
from app.detection.postprocessing import Postprocessor
from app.detection.thresholds import Thresholds
from app.detections import Detections
from app.errors import ImageError, ModelUnavailable, SettingsError, SightlineError
from app.images import MAX_PIXELS, probe

_DECODERS = 4
_LABELS_SHOWN = 100
_WARM_SIZES = ((1280, 720), (640, 480), (640, 640))


class Detector:
    """A model, loaded once, that any thread may call; one thread at a time owns the device.

    >>> detector = Detector(DetectorOptions(model="street.pt"))  # doctest: +SKIP
    >>> [len(seen) for seen in detector.detect([jpeg, png])]  # doctest: +SKIP
    [3, 0]

    Raises:
        SettingsError: there is no such model, or a label to keep is not one of its labels.
        ModelUnavailable: the model cannot be downloaded or loaded, or its device is not there.
    """

    def __init__(self, options: DetectorOptions) -> None:
        self._network = Network(options)
        self._options = options
        self._postprocess = self._made_for(options)
        self._lock = threading.Lock()
        self._decoders = ThreadPoolExecutor(min(_DECODERS, os.cpu_count() or 1), thread_name_prefix="decode")
        graph = self._network.graph
        self._lanes = None if graph is None else Lanes(graph, self._letterbox, self._postprocess, self.model_name)

    @property
    def labels(self) -> Mapping[int, str]:
        """Class id to label, as the model has them."""
        return self._network.labels

    @property
    def model_name(self) -> str:
        """The base name of the configured model, such as ``street.pt``, also where its export is run."""
        return self._network.name

    @property
    def form(self) -> str:
        """What is really run: the base name of the file or folder, such as ``street_openvino_model``."""
        return self._network.form

    @property
    def device(self) -> str:
        """Where the model runs: ``cpu`` or ``cuda:N``."""
        return str(self._network.device)

    def retune(self, thresholds: Thresholds) -> None:
        """Report by other thresholds from the next image on; one that is under way keeps those it began with.

        Raises:
            SettingsError: a label to keep is not one of the model's; nothing was changed.
        """
        options = replace(
            self._options, confidence=thresholds.confidence, iou=thresholds.iou, classes=thresholds.classes
        )
        postprocess = self._made_for(options)
        self._options, self._postprocess = options, postprocess
        if self._lanes is not None:
            self._lanes.retune(postprocess)

    def _made_for(self, options: DetectorOptions) -> Postprocessor:
        kept = _class_ids(options.classes, self.labels, self.model_name)
        return Postprocessor(options, kept, self._network.end_to_end)

    def warm_up(self) -> None:
        """Run the model on a few common sizes, so that the first real image is no slower than the rest.

        Raises:
            ModelUnavailable: the model loads and does not run.
        """
        for width, height in _WARM_SIZES:
            picture = DecodedImage.whole(np.full((height, width, 3), PADDING, np.uint8))
            try:
                self._lanes.warm_up(picture) if self._lanes else self._infer([picture])
            except ModelUnavailable:
                raise
            except Exception as error:  # noqa: BLE001  # the seam: any failure of a foreign model
                raise ModelUnavailable(f"the model {self.model_name!r} does not run: {line_of(error)}") from None

    def detect(self, images: Sequence[bytes]) -> list[Detections]:
        """Detect objects in encoded images; boxes are in pixels of each image, after EXIF orientation.

        Raises:
            ImageError: an image cannot be decoded, or breaks a limit.
            InferenceFailed: the model failed on an image.
        """
        found = []
        for each in self.run(images):
            if each.error is not None:
                raise each.error
            assert each.detections is not None
            found.append(each.detections)
        return found

    def run(self, images: Sequence[bytes], begun: Callable[[], None] = lambda: None) -> list[ImageOutcome]:
        """Detect objects in encoded images; one image's fault never harms the others.

        Args:
            images: JPEG, PNG or WebP, of any sizes.
            begun: called, from any thread and at most once, as soon as another thread's call would find work to do
                beside this one: the pictures are decoded and wait for the device alone, or the last has a core.

        Returns:
            One outcome an image, in the order given.
        """
        groups = list(_portions(images))
        return [
            outcome
            for number, group in enumerate(groups, 1)
            for outcome in self._run(group, begun if number == len(groups) else lambda: None)
        ]

    def _run(self, images: Sequence[bytes], begun: Callable[[], None]) -> list[ImageOutcome]:
        if self._lanes is not None:
            return self._lanes.run(images, begun)
        decoded = self._decode(images)
        begun()
        outcomes: dict[int, ImageOutcome] = {}
        for members in self._batches(decoded):
            pictures = [picture for index in members if (picture := decoded[index].picture)]
            for index, (result, spent) in zip(members, self._attempt(pictures), strict=True):
                outcomes[index] = outcome(decoded[index], result, spent)
        return [outcomes.get(index) or outcome(each, None, 0.0) for index, each in enumerate(decoded)]

    def close(self) -> None:
        """End the decoding threads; the detector cannot be used afterwards."""
        self._decoders.shutdown()
        if self._lanes is not None:
            self._lanes.close()

    def _decode(self, images: Sequence[bytes]) -> list[DecodeResult]:
        if len(images) == 1:  # a hop to another thread and back would cost more than it gives
            return [try_decode(images[0], self._letterbox)]
        return list(self._decoders.map(lambda data: try_decode(data, self._letterbox), images))

    def _batches(self, decoded: Sequence[DecodeResult]) -> list[list[int]]:
        """Group the indices of images whose letterboxed shapes agree."""
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, each in enumerate(decoded):
            if each.picture is not None:
                groups[self._letterbox(each.picture.width, each.picture.height).shape].append(index)
        return list(groups.values())

    def _letterbox(self, width: int, height: int) -> Letterbox:
        network = self._network
        return fit(width, height, network.size, network.stride, network.rectangular)

    def _attempt(self, pictures: Sequence[DecodedImage]) -> list[tuple[Detections | SightlineError, float]]:
        """Run a batch; where it fails, run its pictures one by one to find the guilty."""
        began = time.perf_counter()
        try:
            found: list[Detections | SightlineError] = list(self._infer(pictures))
        except Exception as error:  # noqa: BLE001  # the seam: whatever the model raises, it failed on these images
            if len(pictures) > 1:
                return [self._attempt([picture])[0] for picture in pictures]
            found = [failure(self.model_name, error)]
        spent = milliseconds_since(began)
        return [(each, spent) for each in found]

    def _infer(self, pictures: Sequence[DecodedImage]) -> list[Detections]:
        """Run pictures that share one letterboxed shape through the network."""
        boxes = [self._letterbox(picture.width, picture.height) for picture in pictures]
        shape = boxes[0].shape
        postprocess = self._postprocess
        on_gpu = self._network.device.type == "cuda"
        # Pinned, the copy to the GPU needs no second copy within the driver.
        batch = torch.empty((len(pictures), *shape, 3), dtype=torch.uint8, pin_memory=on_gpu)
        for picture, box, target in zip(pictures, boxes, batch.numpy(), strict=True):
            place(picture.pixels, box, target)
        with self._lock, torch.inference_mode():
            output = self._network(self._as_input(batch))
            if on_gpu:
                rows = postprocess.select(output)
            else:
                rows = [postprocess.select_one(each) for each in output.float().numpy()]
        sizes = [(picture.height, picture.width) for picture in pictures]
        return postprocess.to_source(rows, shape, sizes)

    def _as_input(self, batch: torch.Tensor) -> torch.Tensor:
        """Turn (N, H, W, 3) uint8 RGB into (N, 3, H, W) in [0, 1], on the device."""
        network = self._network
        moved = batch.to(network.device, non_blocking=True).permute(0, 3, 1, 2)
        scaled = moved.to(torch.float16 if network.half else torch.float32).div_(255)
        return scaled if network.channels_last else scaled.contiguous()


def _portions(images: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Split a batch so that no more pixels are held at once than one image may have."""
    portion: list[bytes] = []
    held = 0
    for image in images:
        pixels = _declared_pixels(image)
        if portion and held + pixels > MAX_PIXELS:
            yield portion
            portion, held = [], 0
        portion.append(image)
        held += pixels
    if portion:
        yield portion


def _declared_pixels(image: bytes) -> int:
    try:
        header = probe(image)
    except ImageError:
        return 0  # it will not be decoded
    return header.width * header.height


def _class_ids(wanted: Sequence[str], labels: Mapping[int, str], model: str) -> list[int] | None:
    known = set(labels.values())
    for label in wanted:
        if label not in known:
            shown = ", ".join(list(labels.values())[:_LABELS_SHOWN]) + (", …" if len(labels) > _LABELS_SHOWN else "")
            raise SettingsError(
                f"detector.classes (DETECTOR_CLASSES): {label!r} is no label of {model}; allowed are {shown}"
            )
    return [key for key, label in labels.items() if label in wanted] if wanted else None
