"""CameraOrders: each camera's (epoch, sequence), at the one place that commits (``app/README.md``, decision 4)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from app.errors import EpochSuperseded, FrameRepeated
from app.publisher.drain import CAMERA_IDLE_S, MAX_CAMERAS
from app.publisher.spool.rows import OrderKey

Key = tuple[int, int]
"""Epoch and sequence."""


@dataclass
class _Order:
    """One camera's order."""

    committed: Key = (0, 0)
    handed_over: list[Key] = field(default_factory=list)
    used_at: float = 0.0

    @property
    def last(self) -> Key:
        return max([self.committed, *self.handed_over])


class CameraOrders:
    """What was committed last of each camera, and what is being committed; used from one event loop."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._orders: OrderedDict[str, _Order] = OrderedDict()

    def resume(self, keys: Iterable[OrderKey]) -> None:
        """Take up each camera's last committed frame."""
        for key in keys:
            self._order(key.camera_id).committed = (key.epoch, key.sequence)

    def reserve(self, camera_id: str, epoch: int, sequence: int) -> Key:
        """Reserve a number for a frame that is handed to the spool, until it is settled.

        Raises:
            FrameRepeated: the sequence is at or below one already committed, or being committed, in its epoch.
            EpochSuperseded: a newer epoch of the camera has committed.
        """
        order = self._order(camera_id)
        last_epoch, last_sequence = order.last
        if epoch < last_epoch:
            raise EpochSuperseded(
                f"camera {camera_id} is in epoch {last_epoch}; this frame is of {epoch}: "
                "a camera with this id was started since",
                committed=last_epoch,
            )
        if epoch == last_epoch and sequence <= last_sequence:
            raise FrameRepeated(f"camera {camera_id} has committed sequence {last_sequence}; this frame has {sequence}")
        key = (epoch, sequence)
        order.handed_over.append(key)
        return key

    def settle(self, camera_id: str, key: Key, *, committed: bool) -> None:
        """Record that a frame was committed; where it was not, its number is free again."""
        order = self._order(camera_id)
        order.handed_over.remove(key)
        if committed:
            order.committed = max(order.committed, key)

    def evict_idle(self) -> None:
        """Forget cameras of which nothing came for long."""
        now = self._monotonic()
        while self._orders:
            camera_id, order = next(iter(self._orders.items()))
            if len(self._orders) <= MAX_CAMERAS and order.used_at + CAMERA_IDLE_S > now:
                return
            if order.handed_over:
                self._order(camera_id)  # in use
                return
            del self._orders[camera_id]

    def _order(self, camera_id: str) -> _Order:
        order = self._orders.setdefault(camera_id, _Order())
        order.used_at = self._monotonic()
        self._orders.move_to_end(camera_id)
        return order
