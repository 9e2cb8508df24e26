"""A street as the publisher sees it: cars that drive, park and leave, frame by frame, without a model."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from app.core.channel import CHANNELS, Channel
from app.core.event import DetectedObject, DetectionEvent, StageLatencies
from app.publisher import Receipt, Submission
from app.publisher.analysis import FrameAnalysis
from app.settings.rule_lists import dump_rules, parse_rules
from app.settings.tracking import TrackingSettings
from tests.support.publisher import PublisherFixture, Time, Topic, running_publisher

START_S = 1_700_000_000
FPS = 5
Box = tuple[float, float, float, float]
RIGHT_HALF = [[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]]
INTRUSION: Mapping[str, Any] = {"id": "gate", "type": "intrusion", "zone": RIGHT_HALF, "severity": "alarm"}
LINE: Mapping[str, Any] = {"id": "count", "type": "line_crossing", "line": [[0.25, 1.0], [0.25, 0.0]]}


def car(seconds: float) -> tuple[Box, ...]:
    """Return a car that is in the right half of the picture from its seventh second to its twelfth."""
    return ((20.0 + 100.0 * seconds, 200.0, 120.0, 60.0),) if seconds < 12 else ()


def frame(seconds: float, boxes: tuple[Box, ...], camera: str = "cam", start_s: float = START_S) -> DetectionEvent:
    return DetectionEvent(
        camera_id=camera,
        frame_id=f"{seconds:.1f}",
        captured_at_ns=round((start_s + seconds) * 1000) * 1_000_000,
        width=1280,
        height=720,
        model="m.pt",
        objects=tuple(DetectedObject("car", 2, 0.9, box) for box in boxes),
        latency=StageLatencies(1, 1, 1, 1, 1),
    )


class Street:
    """A publisher with topics for all channels, and a camera that sends it frames."""

    def __init__(self, it: PublisherFixture, topics: Mapping[Channel, Any], start_s: float) -> None:
        self.it, self.topics, self._start_s = it, topics, start_s

    async def set_rules(self, *rules: Mapping[str, Any]) -> None:
        await self.it.publisher.rules.set_rules(dump_rules(parse_rules(list(map(dict, rules)))))

    async def show(self, number: int, boxes: Callable[[float], tuple[Box, ...]] = car, camera: str = "cam") -> Receipt:
        """Commit a camera's frame, five of which are a second."""
        self.it.time.seconds = max(self.it.time.seconds, self._start_s + number / FPS)
        seen = frame(number / FPS, boxes(number / FPS), camera, self._start_s)
        return await self.it.publisher.publish(Submission(seen, 1, number + 1))

    async def settled(self, *channels: Channel) -> None:
        """Wait until all is published that goes to the events' topic, and to those of the channels."""
        await self.it.writer.ready(10)
        await self.it.until(
            lambda now: not now.spooled and not any(now.channels[one].accounts.waiting for one in channels or CHANNELS)
        )

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(record.value) for record in self.it.topic.records]

    def bodies(self, channel: Channel) -> list[dict[str, Any]]:
        return [json.loads(record.value) for record in self.topics[channel].records]

    @property
    def transitions(self) -> list[tuple[str, str]]:
        """Rule and state of what the topic of anomalies has."""
        return [(one["rule"], one["state"]) for one in self.bodies("anomalies") if one["state"] != "update"]


@asynccontextmanager
async def running_street(
    folder: Path,
    topic: Any = None,
    topics: Mapping[Channel, Any] | None = None,
    start_s: float = START_S,
    **how: Any,
) -> AsyncIterator[Street]:
    """Run a publisher; the topics may be those of one before, as may be the spool in ``folder``."""
    topics = topics or {channel: Topic() for channel in CHANNELS}
    time = how.pop("time", None) or Time()
    time.seconds = max(time.seconds, start_s)
    analysis = FrameAnalysis(how.pop("tracking", TrackingSettings()), CHANNELS)
    async with running_publisher(folder, topic, time=time, analysis=analysis, channels=topics, **how) as it:
        yield Street(it, topics, start_s)
