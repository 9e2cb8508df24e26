"""(b) Plain microservices: a grpc.aio server around the model and a Kafka producer, one client process per camera.

What a user would write without Ray: the server decodes, runs one batch at a time of what came meanwhile, publishes,
and answers after the acknowledgement. No spool, no order, no ledger, no admission.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import grpc
import numpy as np

from app.cli.bench.report import fairness
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.rpc.sightline.inference.v1 import inference_pb2_grpc as pb_grpc
from tests.benchmarks.contestants.events import Events, now_ns
from tests.benchmarks.contestants.recording import frames_of
from tests.support.contestant_model import Model

MAX_BATCH = 16


class Server(pb_grpc.InferenceServiceServicer):
    """Decodes, detects in batches, publishes, answers."""

    def __init__(self, model: Model, events: Events) -> None:
        self._model = model
        self._events = events
        self._waiting: asyncio.Queue[tuple[bytes, asyncio.Future[tuple[list[float], float]]]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1)
        self.acknowledged: list[tuple[float, float]] = []
        """Capture to acknowledgement, and the model's part of it, of each event; milliseconds."""
        self.of_camera: Counter[str] = Counter()

    async def Detect(self, request: pb.DetectRequest, context: object) -> pb.DetectResponse:  # noqa: N802
        answer: asyncio.Future[tuple[list[float], float]] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((request.image, answer))
        boxes, model_ms = await answer
        captured_ns = request.captured_at.ToNanoseconds()
        await self._events.send_and_wait(request.camera_id, captured_ns, boxes, model_ms)
        self.acknowledged.append(((now_ns() - captured_ns) / 1e6, model_ms))
        self.of_camera[request.camera_id] += 1
        return pb.DetectResponse(camera_id=request.camera_id, inference_latency_ms=model_ms)

    async def work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._waiting.get()]
            while not self._waiting.empty() and len(batch) < MAX_BATCH:
                batch.append(self._waiting.get_nowait())
            found, model_ms = await loop.run_in_executor(self._thread, self._run, [image for image, _ in batch])
            for (_, answer), boxes in zip(batch, found, strict=True):
                answer.set_result((boxes, model_ms))

    def _run(self, images: list[bytes]) -> tuple[list[list[float]], float]:
        frames = [cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR) for image in images]
        return self._model.run(frames)


async def serve(port: int, model: Model, events: Events, warm_up_s: float, seconds: float, pids: Sequence[int]) -> None:
    """Serve for a while, and print what was acknowledged after the warm-up, and what it and the cameras used."""
    server = grpc.aio.server()
    service = Server(model, events)
    pb_grpc.add_InferenceServiceServicer_to_server(service, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    work = asyncio.create_task(service.work())
    while not service.acknowledged:
        if work.done():
            work.result()  # the model failed
        await asyncio.sleep(0.05)
    await asyncio.sleep(warm_up_s)
    service.acknowledged.clear()
    service.of_camera.clear()
    began, used = time.monotonic(), cpu_s(pids)
    await asyncio.sleep(seconds)
    reported, passed, used = list(service.acknowledged), time.monotonic() - began, cpu_s(pids) - used
    work.cancel()
    await server.stop(0)
    print(
        json.dumps(
            {
                "frames_per_s": len(reported) / passed,
                "capture_to_kafka_ms": statistics.median(total for total, _ in reported),
                "p99_ms": statistics.quantiles((total for total, _ in reported), n=100)[98],
                "fairness": fairness(service.of_camera.values()),
                "cpu_ms_per_frame": 1000 * used / len(reported),
                "model_ms": statistics.median(model for _, model in reported),
                "within_200_ms": sum(total <= 200 for total, _ in reported) / len(reported),
            }
        )
    )


def cpu_s(pids: Sequence[int]) -> float:
    """Return the processor time that processes have used, in seconds."""
    ticks = os.sysconf("SC_CLK_TCK")
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / ticks


def watch(port: int, camera: str, recording: str, fps: float) -> None:
    """Be one camera: read, encode, ask, at a rate or (0) as fast as it is answered."""
    cv2.setNumThreads(1)
    due = time.monotonic()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc.channel_ready_future(channel).result(60)
        stub = pb_grpc.InferenceServiceStub(channel)
        for frame in frames_of(recording):
            if fps:
                due = max(due + 1 / fps, time.monotonic())
                time.sleep(max(0.0, due - time.monotonic()))
            request = pb.DetectRequest(camera_id=camera)
            request.captured_at.GetCurrentTime()
            request.image = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
            try:
                stub.Detect(request)
            except grpc.RpcError:
                return  # the measurement is over


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--recording", required=True)
    parser.add_argument("--fps", type=float, default=0.0)
    parser.add_argument("--camera", help="be this camera, rather than the server and all cameras")
    parser.add_argument("--model")
    parser.add_argument("--cameras", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--bootstrap")
    parser.add_argument("--topic", default="bench")
    parser.add_argument("--warm-up", type=float, default=3.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    if given.camera:
        watch(given.port, given.camera, given.recording, given.fps)
        return
    command = [sys.executable, "-m", __spec__.name, "--port", str(given.port), "--recording", given.recording]
    cameras = [
        subprocess.Popen([*command, "--fps", str(given.fps), "--camera", f"micro-{number}"])
        for number in range(given.cameras)
    ]
    try:
        model, events = Model(given.model, given.threads), Events(given.bootstrap, given.topic)
        pids = [os.getpid(), *(camera.pid for camera in cameras)]
        asyncio.run(serve(given.port, model, events, given.warm_up, given.seconds, pids))
    finally:
        for camera in cameras:
            camera.kill()


if __name__ == "__main__":
    main()
