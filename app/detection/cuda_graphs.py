"""CUDA graphs: what a network launches for one shape of its input, recorded once and launched as one.

A small network is some five hundred kernels of a few microseconds each; launched one by one from Python they take
longer than they run (``tests/benchmarks/gpu``). A graph is bound to its buffers and to its number of pictures, so
batches are padded to the next power of two. How: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch

from app.core.one_line import one_line

_LARGEST = 64
_MOST_GRAPHS = 64
_MOST_PADDING = 4
"""A graph of up to so many times the pictures is taken before another is recorded: that takes longer than many runs."""

_recording = threading.Lock()
"""PyTorch waits for the whole device before it records, which no other stream may be doing then."""
_logger = logging.getLogger(__name__)
Key = tuple[int, int, int]
"""Pictures, height, width."""


@dataclass(frozen=True, eq=False)
class _Captured:
    graph: torch.cuda.CUDAGraph
    pixels: torch.Tensor
    answer: torch.Tensor
    held: object
    """What the network made beside the graph and the graph reads: freed, others would write over it."""


class CudaGraphs:
    """The graphs of one network; used by one thread at a time, on a stream that is not the default one.

    Args:
        run: takes (N, H, W, 3) uint8 on the GPU and gives (N, …); what it launches depends on the shape alone.
        tensors: gives all that ``run`` may have made for the shape it last saw and read again.
    """

    def __init__(self, run: Callable[[torch.Tensor], torch.Tensor], tensors: Callable[[], object]) -> None:
        self._run = run
        self._tensors = tensors
        self._graphs: OrderedDict[Key, _Captured] = OrderedDict()
        # Graphs never run at once, and an answer is copied before the next one runs: they share their memory.
        self._pool = torch.cuda.graph_pool_handle()
        self._broken = False

    def run(self, pixels: torch.Tensor) -> torch.Tensor:
        """Do what ``run`` does; the answer holds until the next call is queued on the stream."""
        count = len(pixels)
        if self._broken or count > _LARGEST:
            return self._run(pixels)
        found = self._find(pixels)
        if found is None:
            self.capture(pixels)
            found = self._find(pixels)
            if found is None:
                return self._run(pixels)
        found.pixels[:count].copy_(pixels)
        found.graph.replay()
        return found.answer[:count]

    def capture(self, pixels: torch.Tensor) -> None:
        """Record the graph for so many pictures of this shape; where that fails, ``run`` is called from then on."""
        size = _padded(len(pixels))
        key = (size, pixels.shape[1], pixels.shape[2])
        if self._broken or key in self._graphs:
            return
        try:
            with _recording:
                self._graphs[key] = self._captured(pixels.new_zeros((size, *pixels.shape[1:])))
        except RuntimeError as error:
            self._broken = True
            self._graphs.clear()
            _logger.warning("the network runs without CUDA graphs, more slowly: %s", one_line(error, 300))
        if len(self._graphs) > _MOST_GRAPHS:
            self._graphs.popitem(last=False)

    def _find(self, pixels: torch.Tensor) -> _Captured | None:
        count, height, width, _ = pixels.shape
        size = _padded(count)
        while size <= _MOST_PADDING * count:
            key = (size, height, width)
            if key in self._graphs:
                self._graphs.move_to_end(key)
                return self._graphs[key]
            size *= 2
        return None

    def _captured(self, pixels: torch.Tensor) -> _Captured:
        stream = torch.cuda.current_stream(pixels.device)
        for _ in range(2):  # kernels are chosen and loaded, and what depends on the shape alone is made
            self._run(pixels)
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Other threads go on decoding and copying meanwhile, which a stricter mode would take for a fault of this one.
        with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
            answer = self._run(pixels)
        return _Captured(graph, pixels, answer, self._tensors())


def _padded(count: int) -> int:
    return 1 << (count - 1).bit_length()
