"""Runners: run batches through the network and select detections, on the CPU or on a GPU."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from app.detection.batch_loader import Batch
from app.detection.cuda_graphs import CudaGraphs
from app.detection.letterbox import PADDING
from app.detection.models.network import Network
from app.detection.postprocessing import Postprocessor

Rows = NDArray[np.float32]
"""(M, 6): x1 y1 x2 y2 in pixels of the network's input, score, class id; it owns its memory."""
_WARM_BATCHES, _WARM_BATCHES_OTHER_SHAPES = (1, 2, 4, 8, 16), (1, 4, 16)
"""Batch sizes recorded ahead for pictures of 16:9, and for others: each takes a second, in which cuDNN plans a hundred
convolutions."""
_TOP_ANCHORS = 1024
"""Best-scored anchors of each picture that are copied from the GPU; rarely more are over the threshold."""


class Runner(Protocol):
    """Runs batches, one at a time, called from any thread."""

    device: torch.device
    """The device of the batches."""

    def prepare(self, shape: tuple[int, int]) -> None:
        """Run as often as it takes for later batches of the shape (height, width) to be no slower."""

    def run(self, batch: Batch, postprocess: Sequence[Postprocessor]) -> Sequence[Rows]:
        """Return the rows that are reported of each picture, as chosen by its own postprocessor."""

    def check(self) -> None:
        """Check the device.

        Raises:
            RuntimeError: it no longer works in this process.
        """

    def close(self) -> None:
        """Release the device's memory; it cannot be used afterwards."""


class CpuRunner:
    """Runs a network on the CPU."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.device = network.device
        self._lock = threading.Lock()

    def prepare(self, shape: tuple[int, int]) -> None:
        """Run one gray picture."""
        self._output(torch.full((1, *shape, 3), PADDING, dtype=torch.uint8))

    def run(self, batch: Batch, postprocess: Sequence[Postprocessor]) -> Sequence[Rows]:
        """Return the rows that are reported of each picture."""
        with self._lock:
            output = self._output(batch.pixels)
            # Under the lock, as a backend may return a buffer that its next call overwrites.
            return [each.select(rows) for each, rows in zip(postprocess, output.float().numpy(), strict=True)]

    def check(self) -> None:
        """Do nothing: a CPU does not fail apart from its process."""

    def close(self) -> None:
        """Do nothing: memory is freed with the runner."""

    def _output(self, pixels: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return self._network(as_input(pixels, self._network))


class GpuRunner:
    """Runs a network on a GPU: the weights' own from CUDA graphs, another runtime's as that does it.

    Only the best anchors of the output are copied to the host, in one piece for the whole batch, and the lock is
    released as soon as all is queued: while the GPU runs one batch, the next one is queued already.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self.device = network.device
        self._lock = threading.Lock()
        self._graphs = CudaGraphs(self._top_anchors, network.tensors) if network.capturable else None
        # Graphs need a stream other than the default one; another runtime computes on that one, or waits for it.
        self._stream = (
            torch.cuda.Stream(network.device)  # type: ignore[no-untyped-call]
            if self._graphs
            else torch.cuda.default_stream(network.device)
        )

    def prepare(self, shape: tuple[int, int]) -> None:
        """Plan and capture the batch sizes that are run."""
        with self._lock, torch.inference_mode(), torch.cuda.stream(self._stream):
            wide = shape[0] <= 0.6 * shape[1]
            for size in (_WARM_BATCHES if wide else _WARM_BATCHES_OTHER_SHAPES) if self._graphs else (1,):
                pixels = torch.full((size, *shape, 3), PADDING, dtype=torch.uint8, device=self._network.device)
                self._graphs.capture(pixels) if self._graphs else self._top_anchors(pixels)
            self._stream.synchronize()

    def run(self, batch: Batch, postprocess: Sequence[Postprocessor]) -> Sequence[Rows]:
        """Return the rows that are reported of each picture."""
        with torch.inference_mode():
            with self._lock, torch.cuda.stream(self._stream):
                if batch.ready is not None:
                    self._stream.wait_event(batch.ready)
                best = self._graphs.run(batch.pixels) if self._graphs else self._top_anchors(batch.pixels)
                answer = torch.empty(best.shape, dtype=torch.float32, pin_memory=True)
                answer.copy_(best, non_blocking=True)
                # Blocking, so that this thread sleeps: its core has pictures to decode.
                done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
                done.record(self._stream)
                if self._graphs is None:  # another runtime may return a buffer that its next call overwrites
                    done.synchronize()
            done.synchronize()
            pictures = zip(postprocess, answer.numpy(), strict=True)
            return [self._select(index, rows, batch, each) for index, (each, rows) in enumerate(pictures)]

    def check(self) -> None:
        """Check CUDA: after some faults every call fails until the process ends."""
        with self._lock:
            self._stream.synchronize()

    def close(self) -> None:
        """Release the graphs: they and the runner refer to each other, so their memory would wait for the collector."""
        with self._lock:
            self._graphs = None

    def _select(self, index: int, rows: Rows, batch: Batch, postprocess: Postprocessor) -> Rows:
        if self._network.end_to_end:
            return postprocess.select(rows)
        if len(rows) == _TOP_ANCHORS and not postprocess.is_below_threshold(rows[-1]):
            with self._lock, torch.cuda.stream(self._stream):
                output = self._network(as_input(batch.one(index).pixels, self._network))[0].float().cpu()
            return postprocess.select(output.numpy())
        return postprocess.select_top(rows)

    def _top_anchors(self, pixels: torch.Tensor) -> torch.Tensor:
        output = self._network(as_input(pixels, self._network))
        return output.float() if self._network.end_to_end else top_anchors(output, _TOP_ANCHORS)


def as_input(pixels: torch.Tensor, network: Network) -> torch.Tensor:
    """Return (N, H, W, 3) uint8 RGB as (N, 3, H, W) in [0, 1], in the network's type and memory order."""
    kind = torch.float16 if network.half else torch.float32
    scaled = pixels.permute(0, 3, 1, 2).to(kind).div_(255)
    return scaled if network.channels_last else scaled.contiguous()


def top_anchors(output: torch.Tensor, limit: int) -> torch.Tensor:
    """Return the best-scored anchors of each image, on the device and without waiting for it.

    Args:
        output: (N, 4 + classes, anchors), of a network without NMS.
        limit: anchors of each image at most.

    Returns:
        (N, at most ``limit``, 6) float32: x1 y1 x2 y2 in pixels of the network's input, score, class id; best first.
    """
    best, classes = output[:, 4:].max(1)
    scores, chosen = best.topk(min(limit, best.shape[1]), 1)
    boxes = output[:, :4].gather(2, chosen[:, None].expand(-1, 4, -1)).float()
    middle, half = boxes[:, :2], boxes[:, 2:] / 2
    columns = [middle - half, middle + half, scores[:, None].float(), classes.gather(1, chosen)[:, None].float()]
    return torch.cat(columns, 1).transpose(1, 2).contiguous()
