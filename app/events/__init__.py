"""Events: built, committed in order, delivered to Kafka and followed there; the only importer of the Kafka client.

Importing this package is cheap: the Kafka client is loaded when a sink or a follower is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from app.events.accounts import LatencyQuantiles, PublisherSnapshot
from app.events.broker import ANNOUNCEMENT, EmbeddedBroker, read_announced
from app.events.check import check_broker
from app.events.drain import PublishObserver, Sink
from app.events.event import (
    DetectionEvent,
    EventRecord,
    SeenObject,
    StageLatencies,
    make_event_id,
    make_record,
)
from app.events.publisher import EventPublisher, Receipt, Submission
from app.events.resharding import open_shard
from app.events.sharding import Shard, ShardReading, merge_readings, shard_of, shards_of
from app.events.spool import Spool
from app.events.spool_writer import SpoolWriter
from app.events.spooled import Quarantined, SpoolAccounts, SpoolOptions
from app.events.spools import ask_quarantine, quarantined, read_accounts

if TYPE_CHECKING:
    from app.events.follower import ReceivedEvent, TopicFollower
    from app.events.sink import Acknowledgement, KafkaSink

_LAZY = {
    "Acknowledgement": "app.events.sink",
    "KafkaSink": "app.events.sink",
    "ReceivedEvent": "app.events.follower",
    "TopicFollower": "app.events.follower",
}

__all__ = [
    "ANNOUNCEMENT",
    "Acknowledgement",
    "DetectionEvent",
    "EmbeddedBroker",
    "EventPublisher",
    "EventRecord",
    "KafkaSink",
    "LatencyQuantiles",
    "PublishObserver",
    "PublisherSnapshot",
    "Quarantined",
    "Receipt",
    "ReceivedEvent",
    "SeenObject",
    "Shard",
    "ShardReading",
    "Sink",
    "Spool",
    "SpoolAccounts",
    "SpoolOptions",
    "SpoolWriter",
    "StageLatencies",
    "Submission",
    "TopicFollower",
    "ask_quarantine",
    "check_broker",
    "make_event_id",
    "make_record",
    "merge_readings",
    "open_shard",
    "quarantined",
    "read_accounts",
    "read_announced",
    "shard_of",
    "shards_of",
]


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
