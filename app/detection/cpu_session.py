"""Graphs: an exported network on the CPU, one picture a call, callable from as many threads as it has cores.

A CPU gains nothing from a batch that each core could not have had alone: cores that share one picture wait for each
other at every layer. So several pictures run side by side, one core each, and only a lone picture gets all cores.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB, letterboxed."""
Output = NDArray[np.float32]
"""(4 + classes, anchors), or (detections, 6) of a head without NMS; valid until the thread's next call."""

_OPENING = threading.Lock()


class CpuSession(Protocol):
    """One exported network."""

    threads: int
    """Cores it may use, and how many threads may call ``beside`` at once."""

    def prepare(self, shape: tuple[int, int]) -> None:
        """Compile for one height and width ahead of use, where that makes it faster."""

    def alone(self, picture: Picture) -> Output:
        """Run one picture on all cores; one call at a time."""

    def beside(self, picture: Picture) -> Output:
        """Run one picture on one core, beside other calls."""


class OpenVinoSession:
    """An OpenVINO folder of one image a batch or of any; compiled for each prepared shape, which runs a fifth faster.

    Args:
        folder: the exported folder.
        threads: cores.
        exact: whether to compute in FP32; otherwise in what OpenVINO takes for the CPU, on some of them BF16.
    """

    def __init__(self, folder: Path, threads: int, exact: bool) -> None:
        self.threads = threads
        self._openvino = _openvino()
        self._core = self._openvino.Core()
        self._file = next(folder.glob("*.xml")) if folder.is_dir() else folder
        # Pinned, the replicas of one machine would all sit on its first cores.
        self._config: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
        if exact:
            self._config["INFERENCE_PRECISION_HINT"] = "f32"
        self._compiled: dict[tuple[tuple[int, int] | None, int], Any] = {}
        self._compiling = threading.Lock()
        self._own = threading.local()
        self._lone: dict[tuple[int, int] | None, Any] = {}
        self._prepared: set[tuple[int, int]] = set()
        self._fixed = not self._read().input().get_partial_shape().is_dynamic

    def prepare(self, shape: tuple[int, int]) -> None:
        """Compile for one height and width."""
        if not self._fixed:
            self._prepared.add(shape)

    def alone(self, picture: Picture) -> Output:
        """Run one picture on all cores; one call at a time."""
        return self._infer(self._lone, picture, streams=1)

    def beside(self, picture: Picture) -> Output:
        """Run one picture on one core, beside other calls."""
        requests = self._own.__dict__.setdefault("requests", {})
        return self._infer(requests, picture, streams=self.threads)

    def _infer(self, requests: dict[tuple[int, int] | None, Any], picture: Picture, streams: int) -> Output:
        shape = (picture.shape[0], picture.shape[1])
        key = shape if shape in self._prepared else None
        if key not in requests:
            requests[key] = self._compile(key, streams).create_infer_request()
        requests[key].infer([picture[None]], share_inputs=True)
        answer: Output = requests[key].get_output_tensor(0).data[0]
        return answer

    def _compile(self, shape: tuple[int, int] | None, streams: int) -> Any:
        with self._compiling:
            if (shape, streams) not in self._compiled:
                model = self._with_pixels(self._read())
                if shape is not None:
                    model.reshape([1, *shape, 3])
                self._compiled[shape, streams] = self._core.compile_model(
                    model, "CPU", self._config | {"NUM_STREAMS": streams}
                )
            return self._compiled[shape, streams]

    def _read(self) -> Any:
        return self._core.read_model(str(self._file))

    def _with_pixels(self, model: Any) -> Any:
        """Let the graph take (1, H, W, 3) uint8, and scale them itself."""
        steps = self._openvino.preprocess.PrePostProcessor(model)
        image = steps.input()
        image.tensor().set_element_type(self._openvino.Type.u8).set_layout(self._openvino.Layout("NHWC"))
        image.preprocess().convert_element_type(model.input().element_type).scale(255.0)
        image.model().set_layout(self._openvino.Layout("NCHW"))
        return steps.build()


class OnnxSession:
    """An ONNX file of one image a batch or of any, in ONNX Runtime."""

    def __init__(self, file: Path, threads: int) -> None:
        self.threads = threads
        self._lone = onnx_session(file, threads)
        self._shared = onnx_session(file, 1) if threads > 1 else self._lone
        self._name = self._lone.get_inputs()[0].name

    def prepare(self, shape: tuple[int, int]) -> None:
        """Do nothing: ONNX Runtime plans each shape when it first sees it."""

    def alone(self, picture: Picture) -> Output:
        """Run one picture on all cores; one call at a time."""
        return self._infer(self._lone, picture)

    def beside(self, picture: Picture) -> Output:
        """Run one picture on one core, beside other calls."""
        return self._infer(self._shared, picture)

    def _infer(self, session: Any, picture: Picture) -> Output:
        pixels = cv2.dnn.blobFromImage(picture, 1 / 255)
        answer: Output = session.run(None, {self._name: pixels})[0][0]
        return answer


def _openvino() -> Any:
    """Import OpenVINO so that several threads may call it.

    Its bindings look up NumPy's interface at the first array they are given, holding a lock of C++ while they wait for
    the interpreter's. Two threads with such a first array, as two lanes would be, waited for each other for ever, and
    with them every thread of Python (2026.4.1, seen with gdb). So one array goes through it before there are others.
    """
    with _OPENING:
        import openvino

        openvino.Tensor(np.zeros(1, np.uint8), shared_memory=True).data  # noqa: B018  # both ways
        return openvino


def onnx_session(file: Path, threads: int) -> Any:
    """Open an ONNX file on the CPU with so many threads."""
    import onnxruntime

    # Ultralytics offers no way to say so, and ONNX Runtime takes every core there is.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
