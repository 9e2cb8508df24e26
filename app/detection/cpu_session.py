"""CPU sessions: an exported network on the CPU, one picture a call, callable from as many threads as it has cores.

A batch gains nothing on a CPU over one picture a core: cores that share one picture wait for each other at every
layer. So several pictures run at the same time, one core each, and only a single picture gets all cores.
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

_IMPORTING = threading.Lock()


class CpuSession(Protocol):
    """One exported network."""

    threads: int
    """Cores it may use, and how many threads may call ``run_on_one_core`` at once."""

    def prepare(self, shape: tuple[int, int]) -> None:
        """Compile for one height and width ahead of use, where that makes it faster."""

    def run_on_all_cores(self, picture: Picture) -> Output:
        """Run one picture on all cores; one call at a time."""

    def run_on_one_core(self, picture: Picture) -> Output:
        """Run one picture on one core, at the same time as other calls."""


class OpenVinoSession:
    """An OpenVINO folder of one image a batch or of any; compiled for each prepared shape, which runs a fifth faster.

    Args:
        folder: the exported folder.
        threads: cores.
        exact: whether to compute in FP32; otherwise in what OpenVINO chooses for the CPU, on some BF16.
    """

    def __init__(self, folder: Path, threads: int, exact: bool) -> None:
        self.threads = threads
        self._openvino = _openvino()
        self._core = self._openvino.Core()
        self._file = next(folder.glob("*.xml")) if folder.is_dir() else folder
        # Pinned, the replicas of one machine would all use its first cores.
        self._config: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
        if exact:
            self._config["INFERENCE_PRECISION_HINT"] = "f32"
        self._compiled: dict[tuple[tuple[int, int] | None, int], Any] = {}
        self._compiling = threading.Lock()
        self._own = threading.local()
        self._on_all_cores: dict[tuple[int, int] | None, Any] = {}
        self._prepared: set[tuple[int, int]] = set()
        self._fixed = not self._read().input().get_partial_shape().is_dynamic

    def prepare(self, shape: tuple[int, int]) -> None:
        """Compile for one height and width."""
        if not self._fixed:
            self._prepared.add(shape)

    def run_on_all_cores(self, picture: Picture) -> Output:
        """Run one picture on all cores; one call at a time."""
        return self._infer(self._on_all_cores, picture, streams=1)

    def run_on_one_core(self, picture: Picture) -> Output:
        """Run one picture on one core, at the same time as other calls."""
        requests = self._own.__dict__.setdefault("requests", {})
        return self._infer(requests, picture, streams=self.threads)

    def all_outputs(self, picture: Picture) -> list[Output]:
        """Return every output of one picture, as batches of one, run on all cores; one call at a time."""
        request = self._request(self._on_all_cores, picture, streams=1)
        return [request.get_output_tensor(index).data for index in range(len(request.model_outputs))]

    def _infer(self, requests: dict[tuple[int, int] | None, Any], picture: Picture, streams: int) -> Output:
        answer: Output = self._request(requests, picture, streams).get_output_tensor(0).data[0]
        return answer

    def _request(self, requests: dict[tuple[int, int] | None, Any], picture: Picture, streams: int) -> Any:
        shape = (picture.shape[0], picture.shape[1])
        key = shape if shape in self._prepared else None
        if key not in requests:
            requests[key] = self._compile(key, streams).create_infer_request()
        requests[key].infer([picture[None]], share_inputs=True)
        return requests[key]

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
        """Return the graph with (1, H, W, 3) uint8 as its input, which it scales itself."""
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
        self._on_all_cores = onnx_session(file, threads)
        self._on_one_core = onnx_session(file, 1) if threads > 1 else self._on_all_cores
        self._name = self._on_all_cores.get_inputs()[0].name

    def prepare(self, shape: tuple[int, int]) -> None:
        """Do nothing: ONNX Runtime plans each shape at its first run."""

    def run_on_all_cores(self, picture: Picture) -> Output:
        """Run one picture on all cores; one call at a time."""
        return self._infer(self._on_all_cores, picture)

    def run_on_one_core(self, picture: Picture) -> Output:
        """Run one picture on one core, at the same time as other calls."""
        return self._infer(self._on_one_core, picture)

    def _infer(self, session: Any, picture: Picture) -> Output:
        pixels = cv2.dnn.blobFromImage(picture, 1 / 255)
        answer: Output = session.run(None, {self._name: pixels})[0][0]
        return answer


class ObjectnessSession:
    """A YOLOv5 or YOLOv7, whose output is converted to that of a YOLOv8."""

    def __init__(self, session: CpuSession) -> None:
        self._session = session
        self.threads = session.threads

    def prepare(self, shape: tuple[int, int]) -> None:
        """Compile for one height and width ahead of use, where that makes it faster."""
        self._session.prepare(shape)

    def run_on_all_cores(self, picture: Picture) -> Output:
        """Run one picture on all cores; one call at a time."""
        return _as_anchors(self._session.run_on_all_cores(picture))

    def run_on_one_core(self, picture: Picture) -> Output:
        """Run one picture on one core, at the same time as other calls."""
        return _as_anchors(self._session.run_on_one_core(picture))


def _as_anchors(output: Output) -> Output:
    """Return (anchors, 5 + classes) of a YOLOv5 or YOLOv7 as a YOLOv8 has it; see ``app.detection.models.network``."""
    return np.concatenate([output[:, :4], output[:, 5:] * output[:, 4:5]], 1).T


def _openvino() -> Any:
    """Import OpenVINO so that several threads may call it.

    Its bindings look up NumPy's interface at their first array, and hold a C++ lock while they wait for the GIL. Two
    threads with such a first array deadlocked, and with them every thread of Python (2026.4.1, observed with gdb). So
    one array is converted before there are other threads.
    """
    with _IMPORTING:
        import openvino

        openvino.Tensor(np.zeros(1, np.uint8), shared_memory=True).data  # noqa: B018  # both ways
        return openvino


def onnx_session(file: Path, threads: int) -> Any:
    """Open an ONNX file on the CPU with a number of threads."""
    import onnxruntime

    # Ultralytics has no option for it, and ONNX Runtime takes every core by default.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
