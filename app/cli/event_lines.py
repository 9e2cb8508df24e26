"""Lines of ``sightline events``: one per event, with its camera, labels and latency."""

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

DEFAULT_BROKER = "127.0.0.1:9092"
PATIENCE_S = 60.0
"""How long to wait for the embedded broker and its topic."""


def bootstrap_of(settings: Settings) -> tuple[str, ...]:
    """Return the brokers of the topic: those of the settings, else the embedded one of this machine.

    Raises:
        SettingsError: Kafka is off.
    """
    kafka = settings.kafka
    if not kafka.enabled:
        raise SettingsError("kafka.enabled (KAFKA_ENABLED): False: there is no topic to follow")
    return kafka.bootstrap_servers or (read_announced(announcement_file(settings.state_dir)) or DEFAULT_BROKER,)


def follow(
    settings: Settings, *, camera: str | None, from_beginning: bool, count: int | None, raw: bool
) -> Iterator[str]:
    """Yield one line per event, for ever or ``count`` times.

    Args:
        settings: the topic and its brokers.
        camera: only this camera's events; ``None``: all.
        from_beginning: start with the oldest event kept, rather than with the next.
        count: stop after so many.
        raw: each event's JSON as it is, rather than a line for a person.

    Raises:
        SettingsError: Kafka is off.
        DeliveryUnavailable: no broker answers, or the topic does not exist.
    """
    printed = 0
    with connected(settings, from_beginning=from_beginning) as follower:
        for received in follower:
            if camera is not None and received.camera_id != camera:
                continue
            yield (received.value.decode(errors="replace") if raw else describe(received, settings.latency_budget_ms))
            printed += 1
            if printed == count:
                return


def connected(settings: Settings, *, from_beginning: bool = False, since_ms: int | None = None) -> TopicFollower:
    """Connect to the topic of ``settings.kafka``; wait for the embedded broker, whose system may still be starting.

    Raises:
        SettingsError: Kafka is off.
        DeliveryUnavailable: no broker answers, or the topic does not exist.
    """
    end = time.monotonic() + (PATIENCE_S if settings.kafka.embedded else 0.0)
    while True:
        try:
            bootstrap = bootstrap_of(settings)
            return TopicFollower(settings.kafka, bootstrap, from_beginning=from_beginning, since_ms=since_ms)
        except DeliveryUnavailable:
            if time.monotonic() >= end:
                raise
            time.sleep(0.5)


def describe(received: ReceivedEvent, budget_ms: float) -> str:
    """Return an event as a line: time, camera, latency from capture with its stages, and the labels."""
    try:
        event = json.loads(received.value)
        labels = Counter(detection["class"] for detection in event["detections"])
        latency = event["latency_ms"]
        total = latency["total"]
        mark = "!" if total > budget_ms else " "
        stages = " ".join(f"{stage} {latency[stage]:.0f}" for stage in EVENT_STAGES)
        described = ", ".join(f"{count} {label}" for label, count in labels.most_common()) or "nothing"
        clock = event["timestamp"][11:23]
        return f"{clock}  {received.camera_id:<16} {total:5.0f} ms{mark} ({stages})  {described}"
    except (ValueError, KeyError, TypeError):
        return f"(not an event of Sightline's: partition {received.partition}, offset {received.offset})"
