"""What the contestants without Sightline send to Kafka: what a user would write, acknowledged by all replicas."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime

from kafka import KafkaProducer


class Events:
    """Sends events with ``acks=all``."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._producer = KafkaProducer(
            bootstrap_servers=[bootstrap],
            acks="all",
            linger_ms=0,
            value_serializer=lambda value: json.dumps(value).encode(),
        )

    def send(self, camera: str, captured_ns: int, boxes: list[float], model_ms: float) -> object:
        """Hand an event over; the future ends with the acknowledgement."""
        value = {
            "camera_id": camera,
            "timestamp": datetime.fromtimestamp(captured_ns / 1e9, UTC).isoformat(timespec="milliseconds"),
            "boxes": boxes,
            "inference_latency_ms": model_ms,
        }
        return self._producer.send(self._topic, key=camera.encode(), value=value)

    async def send_and_wait(self, camera: str, captured_ns: int, boxes: list[float], model_ms: float) -> None:
        """Send an event and wait for its acknowledgement."""
        loop = asyncio.get_running_loop()
        acknowledged: asyncio.Future[None] = loop.create_future()
        sent = self.send(camera, captured_ns, boxes, model_ms)
        sent.add_callback(lambda _: loop.call_soon_threadsafe(acknowledged.set_result, None))  # type: ignore[attr-defined]
        sent.add_errback(lambda error: loop.call_soon_threadsafe(acknowledged.set_exception, error))  # type: ignore[attr-defined]
        await acknowledged

    def close(self) -> None:
        self._producer.flush(10)
        self._producer.close(5)


def now_ns() -> int:
    return time.time_ns()
