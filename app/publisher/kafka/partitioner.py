"""PinnedPartitioner: each key's partition by the number of partitions that is in use."""

from __future__ import annotations

from typing import Any

from kafka.partitioner.default import DefaultPartitioner, murmur2

MAX_KEYS = 20_000
"""Keys whose partition is remembered."""


class PinnedPartitioner(DefaultPartitioner):  # type: ignore[misc]  # the library has no types
    """The partitions of the library's own partitioner, which are those of Kafka's other clients.

    That one takes the partitions the topic has at the moment. When some are added most keys change theirs, and then
    the order of a key would depend on which of two partitions is written first. Here the number changes only when
    :attr:`count` is set, at a time when nothing is on its way. And it hashes a key for each record, in Python; here
    once.
    """

    def __init__(self) -> None:
        self._count = 0
        self._found: dict[bytes, int] = {}

    @property
    def count(self) -> int:
        """How many partitions are in use; 0: not known yet."""
        return self._count

    @count.setter
    def count(self, count: int) -> None:
        self._count = count
        self._found.clear()

    def partition(
        self, topic: str, key: Any, serialized_key: bytes | None, value: Any, serialized_value: bytes, cluster: Any
    ) -> int:
        """Return the partition of a record; of one without a key any, as the library does."""
        if serialized_key is None:
            found: int = super().partition(topic, key, serialized_key, value, serialized_value, cluster)
            return found
        known = self._found.get(serialized_key)
        if known is None:
            if len(self._found) >= MAX_KEYS:
                self._found.clear()
            known = self._found[serialized_key] = (murmur2(serialized_key) & 0x7FFF_FFFF) % self._count
        return known
