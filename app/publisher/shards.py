"""Which shard of the publisher has which camera, and how the accounts of several are merged.

A camera's events all go to one shard, whatever replica they come from and whenever: that is what keeps its order, which
is held within a shard alone. Its number follows from the camera's id and the count of shards, by CRC-32, which is the
same in every process and release (Python's ``hash`` is another in each process).
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from app.core.channel import Channel
from app.core.quantiles import quantiles
from app.errors import SightlineError
from app.evidence.rows import EvidenceAccounts
from app.publisher.snapshot import ChannelSnapshot, EvidenceSnapshot, PublisherSnapshot

_SUMS = (
    *("accepted", "published", "spooled", "quarantined", "discarded", "destroyed"),
    *("spool_bytes", "in_flight", "failed", "out_of_order", "repeated", "breaches"),
)


@dataclass(frozen=True)
class Shard:
    """One of the publishers of a system."""

    number: int = 1
    """From 1 to ``count``."""
    count: int = 1

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.count == 1

    @property
    def part(self) -> str:
        """Its name among the others, such as ``2-of-4``."""
        return f"{self.number}-of-{self.count}"


def shards_of(count: int) -> tuple[Shard, ...]:
    """Return the shards of a system that has so many."""
    return tuple(Shard(number, count) for number in range(1, count + 1))


def shard_of(camera_id: str, count: int) -> int:
    """Return the index, from 0, of the shard that has a camera."""
    return zlib.crc32(camera_id.encode()) % count


@dataclass(frozen=True)
class ShardReading:
    """One shard's accounts at one instant."""

    snapshot: PublisherSnapshot
    latencies_ms: tuple[float, ...]
    """What the snapshot's quantiles were taken of: quantiles of several shards cannot be made of their quantiles."""


def merge_readings(readings: Sequence[ShardReading | SightlineError]) -> PublisherSnapshot:
    """Merge the accounts of all shards: in the order of their numbers, an error for one that does not answer.

    Each part of the ledger is summed over the shards that answered, so it balances; what the others have is missing
    from it, which ``away`` and ``trouble`` show. The oldest event is the oldest of all. The quantiles are those of the
    latencies of all shards together: each has its last ones, so a calm shard's go further back than a busy one's.

    Raises:
        SightlineError: none answered; the first one's error.
    """
    answered = [reading for reading in readings if isinstance(reading, ShardReading)]
    if not answered:
        raise next(reading for reading in readings if isinstance(reading, SightlineError))
    if len(readings) == 1:
        return answered[0].snapshot
    snapshots = [reading.snapshot for reading in answered]
    by_camera: Counter[str] = Counter()
    for snapshot in snapshots:
        by_camera.update(snapshot.by_camera)
    return PublisherSnapshot(
        **{name: sum(getattr(snapshot, name) for snapshot in snapshots) for name in _SUMS},
        oldest_s=max(snapshot.oldest_s for snapshot in snapshots),
        by_camera=dict(by_camera),
        latency=quantiles([ms for reading in answered for ms in reading.latencies_ms]),
        trouble=_trouble(readings),
        broker_warning=next((snapshot.broker_warning for snapshot in snapshots if snapshot.broker_warning), ""),
        refusal=next((snapshot.refusal for snapshot in snapshots if snapshot.refusal), ""),
        channels=_channels(snapshots),
        evidence=_evidence([snapshot.evidence for snapshot in snapshots]),
        away=tuple(number for number, one in enumerate(readings, 1) if isinstance(one, SightlineError)),
    )


def _channels(snapshots: Sequence[PublisherSnapshot]) -> dict[Channel, ChannelSnapshot]:
    merged: dict[Channel, ChannelSnapshot] = {}
    for snapshot in snapshots:
        for channel, one in snapshot.channels.items():
            before = merged.get(channel, ChannelSnapshot())
            merged[channel] = ChannelSnapshot(before.accounts + one.accounts, before.trouble or one.trouble)
    return merged


def _evidence(parts: Sequence[EvidenceSnapshot]) -> EvidenceSnapshot:
    """Return the evidence of all shards together; a trouble that several have is told once."""
    return EvidenceSnapshot(
        sum((one.accounts for one in parts), EvidenceAccounts()),
        max(one.oldest_s for one in parts),
        "; ".join(dict.fromkeys(one.trouble for one in parts if one.trouble)),
    )


def _trouble(readings: Sequence[ShardReading | SightlineError]) -> str:
    """Return the trouble of each shard with its number; once, without numbers, where it is the same for all."""
    troubles = [reading.snapshot.trouble if isinstance(reading, ShardReading) else str(reading) for reading in readings]
    if len(set(troubles)) == 1:
        return troubles[0]
    return "; ".join(
        f"publisher {number} of {len(troubles)}: {trouble}" for number, trouble in enumerate(troubles, 1) if trouble
    )
