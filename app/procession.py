"""Procession: frames of one camera that are under way together are committed in their order."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass


@dataclass(eq=False)
class Place:
    """One frame's place in the procession of its camera."""

    camera_id: str
    turn: tuple[int, int]
    """Epoch and sequence."""
    gone: asyncio.Event


class Procession:
    """Lets a frame wait for the earlier ones of its camera; different batches may bring it back before them.

    Used from one event loop. It knows only the frames of its own process: a camera that has several frames under way
    at once is in order where all of them come to the same ingress.
    """

    def __init__(self) -> None:
        self._places: defaultdict[str, list[Place]] = defaultdict(list)

    def __len__(self) -> int:
        return sum(map(len, self._places.values()))

    def enter(self, camera_id: str, epoch: int, sequence: int) -> Place:
        """Take a place; it must be left, however the frame ends."""
        place = Place(camera_id, (epoch, sequence), asyncio.Event())
        self._places[camera_id].append(place)
        return place

    def leave(self, place: Place) -> None:
        """Let those behind go on."""
        places = self._places[place.camera_id]
        places.remove(place)
        if not places:
            del self._places[place.camera_id]
        place.gone.set()

    async def turn(self, place: Place, patience_s: float) -> None:
        """Wait until no earlier frame of the camera is under way, or for ``patience_s`` at most.

        A frame whose epoch is 0 asks for no order, and waits for nothing.
        """
        if not place.turn[0]:
            return
        end = asyncio.get_running_loop().time() + patience_s
        while earlier := self._before(place):
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                return
            try:
                await asyncio.wait_for(earlier.gone.wait(), left)
            except asyncio.TimeoutError:
                return

    def _before(self, place: Place) -> Place | None:
        return next((other for other in self._places[place.camera_id] if (0, 0) < other.turn < place.turn), None)
