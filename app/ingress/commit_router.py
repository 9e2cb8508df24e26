"""CommitRouter: hands each event to the publisher's shard that has its camera."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from app.errors import DeliveryUnavailable, Overloaded, SightlineError
from app.ingress.batcher import DeadlineBatcher
from app.publisher import Receipt, Submission, shard_of


class PublisherClient(Protocol):
    """One shard of the publisher, wherever it runs."""

    async def publish(self, submissions: Sequence[Submission]) -> Sequence[Receipt | SightlineError]:
        """Commit events; each gets a receipt or its error.

        Raises:
            DeliveryUnavailable: the publisher is not there.
        """


class CommitRouter:
    """Hands each event to the shard that has its camera.

    Every shard has calls and room for waiting events of its own: one that is away or stuck fails or delays the events
    of its own cameras, and nobody else's.
    """

    def __init__(self, publishers: Sequence[PublisherClient], *, max_batch: int, max_waiting: int, calls: int) -> None:
        """Set up one queue a shard.

        Args:
            publishers: the shards, in the order of their numbers.
            max_batch: most events in one call.
            max_waiting: most events that wait for one shard.
            calls: calls to one shard that may be under way at the same time.
        """
        self._shards: list[DeadlineBatcher[Submission, Receipt]] = [
            DeadlineBatcher(publisher.publish, max_batch=max_batch, max_waiting=max_waiting, slots=calls)
            for publisher in publishers
        ]

    @property
    def waiting(self) -> int:
        """Events that no call has taken yet."""
        return sum(shard.waiting for shard in self._shards)

    def commit(self, submission: Submission) -> asyncio.Future[Receipt]:
        """Have an event committed.

        Returns:
            The future of its receipt, not to be cancelled; it fails with a SightlineError where the event is not
            committed, see :meth:`app.publisher.EventPublisher.publish`.
        """
        shard = self._shards[shard_of(submission.event.camera_id, len(self._shards))]
        try:
            return shard.enter(submission)
        except Overloaded:
            refused: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
            refused.set_exception(DeliveryUnavailable("too many events wait for Kafka already"))
            return refused

    async def close(self) -> None:
        """Refuse what waits, and wait for the running calls."""
        refusal = DeliveryUnavailable("the service is shutting down")
        await asyncio.gather(*(shard.close(refusal) for shard in self._shards))
