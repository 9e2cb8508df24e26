"""CUDA graphs: what a network launches for one shape of its input, recorded once and launched as one.

A small network is some five hundred kernels of a few microseconds each; launching them one by one from Python takes
longer than running them (``tests/benchmarks/gpu``). A graph is bound to its buffers and to its number of pictures, so
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

_MAX_BATCH = 64
_MAX_GRAPHS = 64
_MAX_PADDING = 4
"""A graph for up to so many times the pictures is used before another is recorded: recording takes as long as many
runs."""

_recording = threading.Lock()
"""PyTorch synchronizes the whole device before it records, during which no other stream may record."""
_logger = logging.getLogger(__name__)
Key = tuple[int, int, int]
"""Pictures, height, width."""


@dataclass(frozen=True, eq=False)
class _Captured:
    graph: torch.cuda.CUDAGraph
    pixels: torch.Tensor
    answer: torch.Tensor
    held: object
    """Tensors that the network made and the graph reads; once freed, their memory would be written over."""


class CudaGraphs:
    """The graphs of one network; used by one thread at a time, on a stream that is not the default one.

    Args:
        run: takes (N, H, W, 3) uint8 on the GPU and returns (N, …); what it launches depends on the shape alone.
        tensors: returns all that ``run`` may have made for its last shape and reads again.
    """

    def __init__(self, run: Callable[[torch.Tensor], torch.Tensor], tensors: Callable[[], object]) -> None:
        self._run = run
        self._tensors = tensors
        self._graphs: OrderedDict[Key, _Captured] = OrderedDict()
        # Graphs never run at once, and an answer is copied before the next one runs: they share their memory.
        self._pool = torch.cuda.graph_pool_handle()
        self._broken = False

    def run(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return what ``run`` returns; it is valid until the next call is queued on the stream."""
        count = len(pixels)
        if self._broken or count > _MAX_BATCH:
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
        """Record the graph for this shape and number of pictures; where that fails, ``run`` is called from then on."""
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
        if len(self._graphs) > _MAX_GRAPHS:
            self._graphs.popitem(last=False)

    def _find(self, pixels: torch.Tensor) -> _Captured | None:
        count, height, width, _ = pixels.shape
        size = _padded(count)
        while size <= _MAX_PADDING * count:
            key = (size, height, width)
            if key in self._graphs:
                self._graphs.move_to_end(key)
                return self._graphs[key]
            size *= 2
        return None

    def _captured(self, pixels: torch.Tensor) -> _Captured:
        stream = torch.cuda.current_stream(pixels.device)
        for _ in range(2):  # chooses and loads the kernels, and makes what depends on the shape alone
            self._run(pixels)
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Other threads decode and copy meanwhile, which a stricter mode would report as an error of this one.
        with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
            answer = self._run(pixels)
        return _Captured(graph, pixels, answer, self._tensors())


def _padded(count: int) -> int:
    return 1 << (count - 1).bit_length()
