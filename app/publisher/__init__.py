"""The publisher: events committed in order to the spool, and delivered to Kafka from there.

Importing this package loads no Kafka client: ``app.publisher.kafka`` is imported by name, where it is used.
"""

from app.publisher.closing import Closing, closing_line
from app.publisher.delivery_times import PublishObserver
from app.publisher.drain import Sink
from app.publisher.evidence_answer import EvidenceAnswer
from app.publisher.publisher import EventPublisher
from app.publisher.record import EventRecord, make_record
from app.publisher.shards import Shard, ShardReading, merge_readings, shard_of, shards_of
from app.publisher.snapshot import ChannelSnapshot, EvidenceSnapshot, PublisherSnapshot
from app.publisher.spool.folder import ask_quarantine, quarantined, read_accounts
from app.publisher.spool.incidents import IncidentQuery, RuleCount
from app.publisher.spool.resharding import open_shard
from app.publisher.spool.rows import Quarantined, SpoolAccounts, SpoolOptions
from app.publisher.spool.spool import Spool
from app.publisher.spool.writer import SpoolWriter
from app.publisher.submission import Receipt, Submission

__all__ = [
    "ChannelSnapshot",
    "Closing",
    "EventPublisher",
    "EventRecord",
    "EvidenceAnswer",
    "EvidenceSnapshot",
    "IncidentQuery",
    "PublishObserver",
    "PublisherSnapshot",
    "Quarantined",
    "Receipt",
    "RuleCount",
    "Shard",
    "ShardReading",
    "Sink",
    "Spool",
    "SpoolAccounts",
    "SpoolOptions",
    "SpoolWriter",
    "Submission",
    "ask_quarantine",
    "closing_line",
    "make_record",
    "merge_readings",
    "open_shard",
    "quarantined",
    "read_accounts",
    "shard_of",
    "shards_of",
]
