"""Loaders: turn encoded images into letterboxed batches of one shape, on the network's device."""

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
from app.detection.letterbox import PADDING, resize_into
from app.errors import ImageError

_DECODERS = 8


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures that share one letterboxed shape."""

    pixels: torch.Tensor
    """(N, H, W, 3) uint8 RGB on the network's device; undefined for an image that could not be decoded."""
    sizes: Sequence[tuple[int, int]]
    """Height and width of each source, in pixels."""
    ready: torch.cuda.Event | None = None
    """Recorded on the GPU once the pixels are there; ``None``: they are."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        return self.pixels.shape[1], self.pixels.shape[2]

    def one(self, index: int) -> Batch:
        """Return one picture as a batch of its own."""
        return Batch(self.pixels[index : index + 1], [self.sizes[index]], self.ready)


@dataclass(frozen=True, eq=False)
class Loaded:
    """A batch, and the images that are in it."""

    members: Sequence[int]
    """Indices of its images among all that were passed in."""
    batch: Batch


class Loader(Protocol):
    """Decodes the images of one shape into a batch on the device."""

    def load(self, images: Sequence[bytes], headers: Sequence[ImageHeader]) -> tuple[Batch, list[Decoding]]:
        """Decode, scale and pad images whose letterboxed shapes agree.

        Returns:
            The batch, one picture an image, and the result of decoding each.
        """

    def close(self) -> None:
        """Release what it holds; it cannot be used afterwards."""


def read_headers(images: Sequence[bytes]) -> list[ImageHeader | ImageError]:
    """Return each image's header, or the error of reading it."""
    found: list[ImageHeader | ImageError] = []
    for data in images:
        try:
            found.append(probe(data))
        except ImageError as error:
            found.append(error)
    return found


def portions(headers: Sequence[ImageHeader | ImageError]) -> Iterator[slice]:
    """Yield slices of the images, each of no more pixels together than one image may have."""
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
        One batch a letterboxed shape, without those in which nothing could be decoded, and the result of decoding each
        image.
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
        batch, results = loader.load([images[index] for index in members], [known[index] for index in members])
        decodings.update(zip(members, results, strict=True))
        if any(each.error is None for each in results):
            loaded.append(Loaded(members, batch))
    return loaded, [decodings[index] for index in range(len(images))]


class CpuLoader:
    """Decodes in threads that release the GIL, each directly into its image's part of the batch.

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
        if len(images) == 1:  # handing it to another thread would cost more than it saves
            decodings = [self._resize_into(images[0], headers[0], targets[0])]
        else:
            decodings = list(self._threads.map(self._resize_into, images, headers, targets))
        return Batch(pixels, [(header.height, header.width) for header in headers]), decodings

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def _resize_into(self, data: bytes, header: ImageHeader, target: NDArray[np.uint8]) -> Decoding:
        began = time.perf_counter()
        picture, decoding = try_decode(data, self._fit, header)
        if picture is None:
            target[:] = PADDING
            return decoding
        resize_into(picture.pixels, self._fit(picture.width, picture.height), target)
        return Decoding(decoding.width, decoding.height, None, milliseconds_since(began))
