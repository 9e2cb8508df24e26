"""Detector: encoded images of any sizes in, detections in pixels of each image out (``app/README.md``, decision 11)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.core.one_line import one_line
from app.core.wanted import Wanted
from app.detection.decoding import DecodedImage
from app.detection.detections import Detections
from app.detection.image_pipeline import ImagePipeline
from app.detection.letterbox import Letterbox, fit
from app.detection.models.opening import open_network
from app.detection.models.openvino_network import OpenVinoNetwork
from app.detection.options import DetectorOptions, Thresholds
from app.detection.outcomes import ImageOutcome
from app.detection.postprocessing import Postprocessor
from app.errors import ModelUnavailable, RequestError, SettingsError

if TYPE_CHECKING:
    from app.detection.batch_pipeline import BatchPipeline
    from app.detection.models.network import Network

_LABELS_SHOWN = 100
_WARM_SIZES = ((1280, 720), (640, 480), (640, 640))


class Detector:
    """A model, loaded once, that any thread may call; one thread at a time owns the device.

    >>> detector = Detector(DetectorOptions(model="street.pt"))  # doctest: +SKIP
    >>> [len(found) for found in detector.detect([jpeg, png])]  # doctest: +SKIP
    [3, 0]

    Raises:
        SettingsError: there is no such model, or a label to keep is not one of its labels.
        ModelUnavailable: the model cannot be downloaded or loaded, or its device is not there.
    """

    def __init__(
        self,
        options: DetectorOptions,
        make_network: Callable[[DetectorOptions], Network | OpenVinoNetwork] = open_network,
    ) -> None:
        self._network = make_network(options)
        self._options = options
        self._pipeline = self._make_pipeline(options)

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
        """The base name of the file or folder that is run, such as ``street_openvino_model``."""
        return self._network.form

    @property
    def device(self) -> str:
        """Where the model runs: ``cpu`` or ``cuda:N``."""
        return str(self._network.device)

    def retune(self, thresholds: Thresholds) -> None:
        """Use other thresholds from the next image on; one that is under way keeps those it began with.

        Raises:
            SettingsError: a label to keep is not one of the model's; nothing was changed.
        """
        options = replace(
            self._options, confidence=thresholds.confidence, iou=thresholds.iou, classes=thresholds.classes
        )
        postprocess = self._make_postprocessor(options)
        self._options = options
        self._pipeline.retune(postprocess)

    def _make_pipeline(self, options: DetectorOptions) -> ImagePipeline | BatchPipeline:
        network, postprocess = self._network, self._make_postprocessor(options)
        if network.session is not None:
            return ImagePipeline(network.session, self._letterbox, postprocess, self.model_name)
        from app.detection.batch_pipeline import make_batch_pipeline  # it loads torch

        # An OpenVinoNetwork always has a session.
        return make_batch_pipeline(network, self._letterbox, options, postprocess)

    def _make_postprocessor(self, options: DetectorOptions) -> Postprocessor:
        class_ids = _class_ids(options.classes, self.labels, self.model_name)
        return Postprocessor(options, class_ids, self._network.end_to_end, self._network.layout.rows)

    def warm_up(self) -> None:
        """Run the model on a few common sizes, so that the first real image is no slower than the rest.

        Raises:
            ModelUnavailable: the model loads and does not run.
        """
        for width, height in _WARM_SIZES:
            try:
                self._pipeline.warm_up(width, height)
            except ModelUnavailable:
                raise
            except Exception as error:  # noqa: BLE001  # the seam: any failure of a foreign model
                raise ModelUnavailable(f"the model {self.model_name!r} does not run: {one_line(error, 300)}") from None

    def detect(self, images: Sequence[bytes], wanted: Sequence[Wanted] = ()) -> list[Detections]:
        """Detect objects in encoded images; boxes are in pixels of each image, after EXIF orientation.

        Raises:
            ImageError: an image cannot be decoded, or breaks a limit.
            RequestError: a label that is wanted is not one of the model's.
            InferenceFailed: the model failed on an image.
        """
        found = []
        for each in self.run(images, wanted=wanted):
            if each.error is not None:
                raise each.error
            assert each.detections is not None
            found.append(each.detections)
        return found

    def detect_decoded(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Detect objects in pictures that are decoded already: ``run`` without its decoding.

        Args:
            pictures: (H, W, 3) uint8 BGR each; at least one.
        """
        return self._pipeline.detect([DecodedImage.whole(picture) for picture in pictures])

    def run(
        self, images: Sequence[bytes], begun: Callable[[], None] = lambda: None, wanted: Sequence[Wanted] = ()
    ) -> list[ImageOutcome]:
        """Detect objects in encoded images; one image's error does not affect the others.

        Args:
            images: JPEG, PNG or WebP, of any sizes.
            begun: called, from any thread and at most once, as soon as another thread's call could make progress beside
                this one: the pictures are decoded and wait for the device, or the last one has a core.
            wanted: what is reported of each image; an image that wants a label that the model has not is refused by a
                ``RequestError``, and costs the model nothing. Empty: what the options say, of all.

        Returns:
            One outcome an image, in the order given.
        """
        choices = [self._choose(each) for each in wanted] if wanted else [None] * len(images)
        taken: list[bytes] = []
        chosen: list[Postprocessor | None] = []
        for image, choice in zip(images, choices, strict=True):
            if not isinstance(choice, RequestError):
                taken.append(image)
                chosen.append(choice)
        ran = iter(self._pipeline.run(taken, begun, chosen) if taken else ())
        return [ImageOutcome.refused(each) if isinstance(each, RequestError) else next(ran) for each in choices]

    def check_wanted(self, wanted: Wanted) -> None:
        """Check that what a camera wants can be.

        Raises:
            RequestError: a label to keep is not one of the model's.
        """
        refusal = self._choose(wanted)
        if isinstance(refusal, RequestError):
            raise refusal

    def _choose(self, wanted: Wanted) -> Postprocessor | RequestError | None:
        """Return what chooses the detections of an image; ``None``: what does so for all."""
        if wanted.confidence is None and not wanted.classes and wanted.tracked:
            return None
        if wrong := _unknown_label(wanted.classes, self.labels, self.model_name):
            return RequestError(f"classes: {wrong}")
        options = self._options
        confidence = options.confidence if wanted.confidence is None else wanted.confidence
        return self._make_postprocessor(
            replace(
                options,
                confidence=confidence,
                classes=wanted.classes or options.classes,
                weak_confidence=options.weak_confidence if wanted.tracked else None,
            )
        )

    def check(self) -> None:
        """Check the device: after some of its faults, nothing runs on a GPU until the process ends.

        Raises:
            ModelUnavailable: it no longer works.
        """
        try:
            self._pipeline.check()
        except RuntimeError as error:
            reason = one_line(error, 300)
            raise ModelUnavailable(f"the model {self.model_name!r} has lost {self.device}: {reason}") from None

    def close(self) -> None:
        """End the decoding threads; the detector cannot be used afterwards."""
        self._pipeline.close()

    def _letterbox(self, width: int, height: int) -> Letterbox:
        network = self._network
        return fit(width, height, network.size, network.stride, network.rectangular)


def _class_ids(kept: Sequence[str], labels: Mapping[int, str], model: str) -> list[int] | None:
    if wrong := _unknown_label(kept, labels, model):
        raise SettingsError(f"detector.classes (DETECTOR_CLASSES): {wrong}")
    return [key for key, label in labels.items() if label in kept] if kept else None


def _unknown_label(kept: Sequence[str], labels: Mapping[int, str], model: str) -> str:
    """Return which label is none of the model's, and which are; empty where all are."""
    known = set(labels.values())
    for label in kept:
        if label not in known:
            shown = ", ".join(list(labels.values())[:_LABELS_SHOWN]) + (", …" if len(labels) > _LABELS_SHOWN else "")
            return f"{label!r} is no label of {model}; allowed are {shown}"
    return ""
