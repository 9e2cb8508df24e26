"""Loading: encoded images to batches of one shape, letterboxed, where the network computes."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from app.core.image_header import MAX_PIXELS, ImageHeader, probe
from app.detection.image_steps import Decoding, Fit, milliseconds_since, try_decode
from app.detection.letterbox import PADDING, place
from app.errors import ImageError

_DECODERS = 8


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures that share one letterboxed shape."""

    pixels: torch.Tensor
    """(N, H, W, 3) uint8 RGB on the network's device; of an image that could not be decoded, whatever."""
    sizes: Sequence[tuple[int, int]]
    """Height and width of each source, in pixels."""
    ready: torch.cuda.Event | None = None
    """Happens on the GPU once the pixels are there; none: they are."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        return self.pixels.shape[1], self.pixels.shape[2]

    def one(self, index: int) -> Batch:
        """Give a picture as a batch of its own."""
        return Batch(self.pixels[index : index + 1], [self.sizes[index]], self.ready)


@dataclass(frozen=True, eq=False)
class Loaded:
    """A batch, and which images it is of."""

    members: Sequence[int]
    """Positions of its images among all that were given."""
    batch: Batch


class Loader(Protocol):
    """Brings the images of one shape to the device."""

    def load(self, images: Sequence[bytes], headers: Sequence[ImageHeader]) -> tuple[Batch, list[Decoding]]:
        """Decode, scale and pad images whose letterboxed shapes agree.

        Returns:
            The batch, a picture an image, and how the decoding of each went.
        """

    def close(self) -> None:
        """End what it holds; it cannot be used afterwards."""


def read_headers(images: Sequence[bytes]) -> list[ImageHeader | ImageError]:
    """Read each image's header, or why it has none."""
    found: list[ImageHeader | ImageError] = []
    for data in images:
        try:
            found.append(probe(data))
        except ImageError as error:
            found.append(error)
    return found


def portions(headers: Sequence[ImageHeader | ImageError]) -> Iterator[slice]:
    """Split images so that no more pixels are held at once than one image may have."""
    begin = held = 0
    for index, header in enumerate(headers):
        pixels = header.width * header.height if isinstance(header, ImageHeader) else 0
        if index > begin and held + pixels > MAX_PIXELS:
            yield slice(begin, index)
            begin, held = index, 0
        held += pixels
    if begin < len(headers):
        yield slice(begin, len(headers))


def load_all(
    images: Sequence[bytes], headers: Sequence[ImageHeader | ImageError], fit: Fit, loader: Loader
) -> tuple[list[Loaded], list[Decoding]]:
    """Load images of any sizes.

    Args:
        images: encoded.
        headers: of each.
        fit: of the model.
        loader: of the device.

    Returns:
        A batch a letterboxed shape, without those in which nothing could be decoded, and how the decoding of each
        image went.
    """
    decodings: dict[int, Decoding] = {}
    known: dict[int, ImageHeader] = {}
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, header in enumerate(headers):
        if isinstance(header, ImageHeader):
            known[index] = header
            groups[fit(header.width, header.height).shape].append(index)
        else:
            decodings[index] = Decoding.refused(header, 0.0)
    loaded = []
    for members in groups.values():
        batch, went = loader.load([images[index] for index in members], [known[index] for index in members])
        decodings.update(zip(members, went, strict=True))
        if any(each.error is None for each in went):
            loaded.append(Loaded(members, batch))
    return loaded, [decodings[index] for index in range(len(images))]


class CpuLoader:
    """Decodes in threads that release the GIL, each straight into its image's place in the batch.

    Args:
        fit: of the model.
        pinned: whether the batch lies in pinned memory, from which a GPU copies without a copy in between.
    """

    def __init__(self, fit: Fit, pinned: bool = False) -> None:
        self._fit = fit
        self._pinned = pinned
        self._threads = ThreadPoolExecutor(min(_DECODERS, os.cpu_count() or 1), thread_name_prefix="decode")

    def load(self, images: Sequence[bytes], headers: Sequence[ImageHeader]) -> tuple[Batch, list[Decoding]]:
        """Decode, scale and pad; see :class:`Loader`."""
        shape = self._fit(headers[0].width, headers[0].height).shape
        pixels = torch.empty((len(images), *shape, 3), dtype=torch.uint8, pin_memory=self._pinned)
        targets = pixels.numpy()
        if len(images) == 1:  # a hop to another thread and back would cost more than it gives
            decodings = [self._place(images[0], headers[0], targets[0])]
        else:
            decodings = list(self._threads.map(self._place, images, headers, targets))
        return Batch(pixels, [(header.height, header.width) for header in headers]), decodings

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def _place(self, data: bytes, header: ImageHeader, target: NDArray[np.uint8]) -> Decoding:
        began = time.perf_counter()
        picture, decoding = try_decode(data, self._fit, header)
        if picture is None:
            target[:] = PADDING
            return decoding
        place(picture.pixels, self._fit(picture.width, picture.height), target)
        return Decoding(decoding.width, decoding.height, None, milliseconds_since(began))
