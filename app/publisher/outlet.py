"""Outlets: what a drain sends to one topic, where it reads it, and to whom it reports what came of it."""

from __future__ import annotations

import contextlib
from typing import Protocol

from app.core.channel import DETECTIONS, Channel
from app.errors import DeliveryRefused, SpoolDamaged
from app.publisher.camera_queue import Pending, Sent
from app.publisher.delivery_times import DeliveryTimes
from app.publisher.record import EventRecord, make_outbox_record, make_record
from app.publisher.spool.codec import load
from app.publisher.spool.rows import Delivery, Refusal
from app.publisher.spool.writer import SpoolWriter


class Outlet(Protocol):
    """What goes to one topic."""

    @property
    def channel(self) -> str:
        """Its name among the topics, for the log."""

    async def waiting(self, camera_id: str, after: int, limit: int) -> list[Pending]:
        """Return a camera's next waiting records; raises DeliveryUnavailable where they cannot be read now."""

    def make(self, pending: Pending, now_ns: int, *, replayed: bool) -> EventRecord:
        """Return a record as it is sent now; raises DeliveryRefused where it is none."""

    def deliver(self, pending: Pending, now_ns: int) -> None:
        """Write down that the topic has it."""

    def refuse(self, pending: Pending, reason: str, now_ns: int) -> None:
        """Write down that Kafka refuses it for good."""

    def acknowledged(self, sent: Sent, *, replayed: bool) -> None:
        """Record how long it took."""


class DetectionOutlet:
    """The events themselves."""

    channel = DETECTIONS

    def __init__(self, spool: SpoolWriter, times: DeliveryTimes) -> None:
        self._spool = spool
        self._times = times

    async def waiting(self, camera_id: str, after: int, limit: int) -> list[Pending]:
        """Return a camera's next waiting events."""
        found = []
        for row in await self._spool.waiting(camera_id, after, limit):
            event, due_at_ns = None, None
            with contextlib.suppress(SpoolDamaged):
                event, due_at_ns = load(row.body)
            found.append(Pending(row.id, row.stored_at_ns, row.event_id, event, due_at_ns))
        return found

    def make(self, pending: Pending, now_ns: int, *, replayed: bool) -> EventRecord:
        """Return an event's record.

        Raises:
            DeliveryRefused: its stored form cannot be read, or it is no valid event.
        """
        if pending.event is None:
            raise DeliveryRefused("its stored form cannot be read")
        total_ms = (now_ns - pending.event.captured_at_ns) / 1e6
        return make_record(pending.event, total_ms=total_ms, replayed=replayed)

    def deliver(self, pending: Pending, now_ns: int) -> None:
        """Write down that the topic has it."""
        self._spool.deliver(Delivery(pending.id, pending.event_id, now_ns))

    def refuse(self, pending: Pending, reason: str, now_ns: int) -> None:
        """Write down that Kafka refuses it for good."""
        self._spool.refuse(Refusal(pending.id, reason, now_ns))

    def acknowledged(self, sent: Sent, *, replayed: bool) -> None:
        """Record how long it took."""
        self._times.record(sent, replayed=replayed)


class ChannelOutlet:
    """The records of another topic, which lie in the outbox as they are published."""

    def __init__(self, spool: SpoolWriter, channel: Channel) -> None:
        self._spool = spool
        self._channel = channel

    @property
    def channel(self) -> str:
        """Its name among the topics, for the log."""
        return self._channel

    async def waiting(self, camera_id: str, after: int, limit: int) -> list[Pending]:
        """Return a camera's next waiting records."""
        rows = await self._spool.waiting_records(self._channel, camera_id, after, limit)
        return [Pending.of(row) for row in rows]

    def make(self, pending: Pending, now_ns: int, *, replayed: bool) -> EventRecord:
        """Return the record: the same whenever it is sent."""
        assert pending.record is not None
        return make_outbox_record(pending.record)

    def deliver(self, pending: Pending, now_ns: int) -> None:
        """Write down that the topic has it."""
        self._spool.deliver(Delivery(pending.id, pending.event_id, now_ns, self._channel))

    def refuse(self, pending: Pending, reason: str, now_ns: int) -> None:
        """Write down that Kafka refuses it for good."""
        self._spool.refuse(Refusal(pending.id, reason, now_ns, self._channel))

    def acknowledged(self, sent: Sent, *, replayed: bool) -> None:
        """Record nothing: the budget is that of the events."""
