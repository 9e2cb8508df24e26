"""GpuLoader: the GPU's JPEG decoder decodes a batch, and the CPU what that cannot."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch

from app.core.image_header import ImageHeader, JpegCoding
from app.core.one_line import one_line
from app.detection.batch_loader import Batch, CpuLoader
from app.detection.decoding import reduction
from app.detection.image_steps import Decoding, Fit, milliseconds_since
from app.detection.letterbox import PADDING

_ORDINARY = frozenset({JpegCoding(0xC0, 1, True, False), JpegCoding(0xC0, 3, True, False)})
"""What nvJPEG decodes as CPUs do: baseline, gray or YCbCr, with its own Huffman tables (Motion JPEG may leave them out)
and without Adobe's marker of another color space."""

_logger = logging.getLogger(__name__)


class GpuLoader:
    """Decodes ordinary JPEGs on the GPU and the rest on the CPU; scales and pads where the picture is.

    nvJPEG's pixels differ from libjpeg's, on the mean by less than 1 of 255, mostly at edges of color.

    Args:
        fit: of the model.
        device: the network's.
        decode: whether the GPU decodes at all.
    """

    def __init__(self, fit: Fit, device: torch.device, decode: bool) -> None:
        self._fit = fit
        self._device = device
        self._decodes = decode and _can_decode(device)
        self._cpu = CpuLoader(fit, pinned=True)
        # Its own, so that a batch is decoded and copied while the network runs the one before.
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def load(self, images: Sequence[bytes], headers: Sequence[ImageHeader]) -> tuple[Batch, list[Decoding]]:
        """Decode, scale and pad; see :class:`~app.detection.batch_loader.Loader`."""
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            batch, decodings = self._load(images, headers)
            ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            ready.record(self._stream)
        return replace(batch, ready=ready), decodings

    def close(self) -> None:
        """End the decoding threads of the CPU."""
        self._cpu.close()

    def _load(self, images: Sequence[bytes], headers: Sequence[ImageHeader]) -> tuple[Batch, list[Decoding]]:
        began = time.perf_counter()
        decoded = self._decode(images, headers)
        if not decoded:
            batch, decodings = self._cpu.load(images, headers)
            return replace(batch, pixels=batch.pixels.to(self._device, non_blocking=True)), decodings
        height, width = self._fit(headers[0].width, headers[0].height).shape
        pixels = torch.full((len(images), height, width, 3), PADDING, dtype=torch.uint8, device=self._device)
        self._resize_into(decoded, headers, pixels)
        spent = milliseconds_since(began)
        decodings = [Decoding(header.width, header.height, None, spent) for header in headers]
        left = [index for index in range(len(images)) if index not in decoded]
        if left:
            others, results = self._cpu.load([images[index] for index in left], [headers[index] for index in left])
            for index, one, decoding in zip(left, others.pixels, results, strict=True):
                pixels[index].copy_(one, non_blocking=True)
                decodings[index] = decoding
        return Batch(pixels, [(header.height, header.width) for header in headers]), decodings

    def _decode(self, images: Sequence[bytes], headers: Sequence[ImageHeader]) -> dict[int, torch.Tensor]:
        """Decode what the GPU can: position to (3, H, W) uint8 RGB, on the GPU."""
        if not self._decodes:
            return {}
        chosen = [index for index, header in enumerate(headers) if _is_ordinary(header)]
        if not chosen:
            return {}
        try:
            pictures = _decoded([images[index] for index in chosen], self._device)
        except RuntimeError as error:  # one of them is damaged: the CPU finds out which
            _logger.debug("the GPU decodes none of %d JPEGs: %s", len(chosen), one_line(error, 300))
            return {}
        return {
            index: picture
            for index, picture in zip(chosen, pictures, strict=True)
            if picture.shape == (3, headers[index].height, headers[index].width)
        }

    def _resize_into(
        self, decoded: dict[int, torch.Tensor], headers: Sequence[ImageHeader], target: torch.Tensor
    ) -> None:
        """Scale pictures into their parts of the batch, those of one size together."""
        sizes: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index in decoded:
            sizes[headers[index].width, headers[index].height].append(index)
        for (width, height), members in sizes.items():
            box = self._fit(width, height)
            pictures = torch.stack([decoded[index] for index in members])
            if box.scaled != (width, height):
                # Much larger ones are averaged, as the CPU does by decoding at a reduced size.
                averaged = reduction(headers[members[0]], box.scaled) > 1
                pictures = _scaled(pictures, box.scaled, averaged)
            right, bottom = box.left + box.scaled[0], box.top + box.scaled[1]
            inner = target[:, box.top : bottom, box.left : right]
            pictures = pictures.permute(0, 2, 3, 1)
            if len(members) == len(target):
                inner.copy_(pictures)
            else:
                inner[torch.tensor(members, device=target.device)] = pictures


def _can_decode(device: torch.device) -> bool:
    gray = cv2.imencode(".jpg", np.full((16, 16, 3), PADDING, np.uint8))[1].tobytes()
    try:
        _decoded([gray], device)
    except (RuntimeError, ImportError) as error:
        _logger.warning("JPEGs are decoded on the CPU: %s", one_line(error, 300))
        return False
    return True


def _decoded(images: Sequence[bytes], device: torch.device) -> list[torch.Tensor]:
    """Decode JPEGs by nvJPEG to (3, H, W) uint8 RGB on the GPU; one that cannot be decoded fails them all."""
    from torchvision.io import ImageReadMode, decode_jpeg

    # Copied, as torch needs writable memory.
    encoded = [torch.frombuffer(bytearray(image), dtype=torch.uint8) for image in images]
    pictures: list[torch.Tensor] = decode_jpeg(encoded, ImageReadMode.RGB, device=device)
    return pictures


def _is_ordinary(header: ImageHeader) -> bool:
    return header.orientation == 1 and header.coding in _ORDINARY


def _scaled(pictures: torch.Tensor, size: tuple[int, int], averaged: bool) -> torch.Tensor:
    """Scale (N, 3, H, W) uint8 bilinearly to ``size`` (width, height), with samples where OpenCV takes them."""
    scaled = torch.nn.functional.interpolate(
        pictures.half(), (size[1], size[0]), mode="bilinear", align_corners=False, antialias=averaged
    )
    return scaled.round_().clamp_(0, 255).to(torch.uint8)
