"""Placement: which node each camera's actor is asked to run on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.settings.cameras import CameraSettings

SHUNNED_S = 90.0
"""How long a node on which an actor died is taken only where there is no other: it may be dead, and not known to be.
Ray's head takes 15 s to give up a node that is gone, and 65 s for one that has fallen silent."""


@dataclass(frozen=True)
class Node:
    """A living node of the cluster."""

    id: str
    resources: Mapping[str, float]
    """All it has."""
    ip: str = ""


@dataclass(frozen=True)
class _Placed:
    node: str
    resources: Mapping[str, float]


class Placement:
    """Spreads cameras evenly over the nodes that have the resources they ask for.

    Ray's own strategy ``SPREAD`` takes turns on each node by itself, so that a few actors lie as chance has it.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._placed: dict[str, _Placed] = {}
        self._shunned: dict[str, float] = {}

    def place(self, camera: CameraSettings, nodes: Sequence[Node]) -> str | None:
        """Choose a camera's node; none where no node has what it asks for."""
        self._placed.pop(camera.id, None)
        able = [node for node in nodes if self._has_room(node, camera.resources)]
        if not able:
            return None
        cameras = Counter(placed.node for placed in self._placed.values())
        chosen = min(able, key=lambda node: (self._is_shunned(node.id), cameras[node.id]))
        self._placed[camera.id] = _Placed(chosen.id, camera.resources)
        return chosen.id

    def may_move(self, camera: CameraSettings, nodes: Sequence[Node]) -> bool:
        """Return whether a camera could as well run on another node than its own."""
        placed = self._placed.get(camera.id)
        return placed is not None and any(
            node.id != placed.node and not self._is_shunned(node.id) and self._has_room(node, camera.resources)
            for node in nodes
        )

    def is_doubtful(self, camera_id: str) -> bool:
        """Return whether a camera was placed on a shunned node, for want of another."""
        placed = self._placed.get(camera_id)
        return placed is not None and self._is_shunned(placed.node)

    def lose(self, camera_id: str) -> None:
        """Hear that a camera's actor died: its node is shunned for a while."""
        placed = self._placed.pop(camera_id, None)
        if placed is not None:
            self._shunned[placed.node] = self._monotonic() + SHUNNED_S

    def remove(self, camera_id: str) -> None:
        """Forget a camera."""
        self._placed.pop(camera_id, None)

    def _has_room(self, node: Node, wanted: Mapping[str, float]) -> bool:
        taken: Counter[str] = Counter()
        for placed in self._placed.values():
            if placed.node == node.id:
                taken.update(placed.resources)
        return all(node.resources.get(name, 0.0) - taken[name] + 1e-9 >= amount for name, amount in wanted.items())

    def _is_shunned(self, node: str) -> bool:
        return self._shunned.get(node, 0.0) > self._monotonic()
