"""Resequencer: frames of one camera that are under way together are committed in their order."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass


@dataclass(eq=False)
class Slot:
    """One frame that is under way, in the order of its camera."""

    camera_id: str
    order_key: tuple[int, int]
    """Epoch and sequence."""
    gone: asyncio.Event | None = None
    """Set as it leaves; made once a later frame waits for it."""


class Resequencer:
    """Makes a frame wait for the earlier ones of its camera: batches may come back in another order than they left.

    Used from one event loop. It knows only the frames of its own process: a camera that has several frames under way
    at once is in order where all of them come to the same ingress.
    """

    def __init__(self) -> None:
        self._slots: defaultdict[str, list[Slot]] = defaultdict(list)

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def enter(self, camera_id: str, epoch: int, sequence: int) -> Slot:
        """Return a slot for a frame; it must be left, however the frame ends."""
        slot = Slot(camera_id, (epoch, sequence))
        self._slots[camera_id].append(slot)
        return slot

    def leave(self, slot: Slot) -> None:
        """Remove a frame, so that later ones need not wait for it."""
        slots = self._slots[slot.camera_id]
        slots.remove(slot)
        if not slots:
            del self._slots[slot.camera_id]
        if slot.gone is not None:
            slot.gone.set()

    async def wait(self, slot: Slot, timeout_s: float) -> None:
        """Wait until no earlier frame of the camera is under way, or for ``timeout_s`` seconds at most.

        A frame whose epoch is 0 asks for no order, and waits for nothing.
        """
        if not slot.order_key[0] or self._before(slot) is None:
            return
        end = asyncio.get_running_loop().time() + timeout_s
        while earlier := self._before(slot):
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                return
            earlier.gone = earlier.gone or asyncio.Event()
            try:
                async with asyncio.timeout(left):
                    await earlier.gone.wait()
            except TimeoutError:
                return

    def _before(self, slot: Slot) -> Slot | None:
        return next((other for other in self._slots[slot.camera_id] if (0, 0) < other.order_key < slot.order_key), None)
