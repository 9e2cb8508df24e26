"""What ``sightline events`` prints: a line an event, with its camera, labels and latency."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator

from app.core.stage import EVENT_STAGES
from app.errors import DeliveryUnavailable, SettingsError
from app.publisher.kafka.embedded_broker import announcement_file, read_announced
from app.publisher.kafka.follower import ReceivedEvent, TopicFollower
from app.settings.settings import Settings

USUAL_BROKER = "127.0.0.1:9092"
PATIENCE_S = 60.0
"""How long the embedded broker and its topic are waited for."""


def bootstrap_of(settings: Settings) -> tuple[str, ...]:
    """Tell where the topic is: the brokers of the settings, else the embedded one of this machine.

    Raises:
        SettingsError: Kafka is off.
    """
    kafka = settings.kafka
    if not kafka.enabled:
        raise SettingsError("kafka.enabled (KAFKA_ENABLED): False: there is no topic to follow")
    return kafka.bootstrap_servers or (read_announced(announcement_file(settings.state_dir)) or USUAL_BROKER,)


def follow(
    settings: Settings, *, camera: str | None, from_beginning: bool, count: int | None, raw: bool
) -> Iterator[str]:
    """Yield a line an event, for ever or ``count`` times.

    Args:
        settings: where the topic is.
        camera: only this camera's events; none: all.
        from_beginning: start with the oldest event kept, rather than with the next.
        count: stop after so many.
        raw: each event's JSON as it is, rather than a line for a person.

    Raises:
        SettingsError: Kafka is off.
        DeliveryUnavailable: no broker answers, or the topic is not there.
    """
    told = 0
    with _connected(settings, from_beginning) as follower:
        for received in follower:
            if camera is not None and received.camera_id != camera:
                continue
            yield (received.value.decode(errors="replace") if raw else describe(received, settings.latency_budget_ms))
            told += 1
            if told == count:
                return


def _connected(settings: Settings, from_beginning: bool) -> TopicFollower:
    """Connect; a system with the embedded broker may still be starting, and is waited for."""
    end = time.monotonic() + (PATIENCE_S if settings.kafka.embedded else 0.0)
    while True:
        try:
            return TopicFollower(settings.kafka, bootstrap_of(settings), from_beginning=from_beginning)
        except DeliveryUnavailable:
            if time.monotonic() >= end:
                raise
            time.sleep(0.5)


def describe(received: ReceivedEvent, budget_ms: float) -> str:
    """Give an event as a line: time, camera, what was seen, and capture to Kafka with its parts."""
    try:
        event = json.loads(received.value)
        seen = Counter(thing["class"] for thing in event["detections"])
        latency = event["latency_ms"]
        total = latency["total"]
        mark = "!" if total > budget_ms else " "
        stages = " ".join(f"{stage} {latency[stage]:.0f}" for stage in EVENT_STAGES)
        what = ", ".join(f"{count} {label}" for label, count in seen.most_common()) or "nothing"
        clock = event["timestamp"][11:23]
        return f"{clock}  {received.camera_id:<16} {total:5.0f} ms{mark} ({stages})  {what}"
    except (ValueError, KeyError, TypeError):
        return f"(not an event of ours: partition {received.partition}, offset {received.offset})"
