"""Placement: chooses the node of each camera's actor."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.settings.cameras import CameraSettings

AVOIDED_S = 90.0
"""How long a node on which an actor died is chosen only where there is no other: it may be dead, undetected so far.
Ray's head takes 15 s to declare a node dead that refuses connections, and 65 s for one that does not answer."""


@dataclass(frozen=True)
class Node:
    """A living node of the cluster."""

    id: str
    resources: Mapping[str, float]
    """All its resources, in use or not."""
    ip: str = ""


@dataclass(frozen=True)
class _Placed:
    node: str
    resources: Mapping[str, float]


class Placement:
    """Spreads cameras evenly over the nodes that have the resources they ask for.

    Ray's own strategy ``SPREAD`` counts on each node independently, so that a few actors may share a node.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._placed: dict[str, _Placed] = {}
        self._avoided: dict[str, float] = {}

    def place(self, camera: CameraSettings, nodes: Sequence[Node]) -> str | None:
        """Choose and return a camera's node id; ``None`` where no node has the camera's resources."""
        self._placed.pop(camera.id, None)
        candidates = [node for node in nodes if self._has_room(node, camera.resources)]
        if not candidates:
            return None
        cameras = Counter(placed.node for placed in self._placed.values())
        chosen = min(candidates, key=lambda node: (self._is_avoided(node.id), cameras[node.id]))
        self._placed[camera.id] = _Placed(chosen.id, camera.resources)
        return chosen.id

    def may_move(self, camera: CameraSettings, nodes: Sequence[Node]) -> bool:
        """Return whether another node than the camera's own could run it."""
        placed = self._placed.get(camera.id)
        return placed is not None and any(
            node.id != placed.node and not self._is_avoided(node.id) and self._has_room(node, camera.resources)
            for node in nodes
        )

    def is_on_avoided_node(self, camera_id: str) -> bool:
        """Return whether a camera was placed on an avoided node because there was no other."""
        placed = self._placed.get(camera_id)
        return placed is not None and self._is_avoided(placed.node)

    def actor_died(self, camera_id: str) -> None:
        """Record that a camera's actor died: its node is avoided for ``AVOIDED_S``."""
        placed = self._placed.pop(camera_id, None)
        if placed is not None:
            self._avoided[placed.node] = self._monotonic() + AVOIDED_S

    def remove(self, camera_id: str) -> None:
        """Remove a camera from its node."""
        self._placed.pop(camera_id, None)

    def _has_room(self, node: Node, required: Mapping[str, float]) -> bool:
        used: Counter[str] = Counter()
        for placed in self._placed.values():
            if placed.node == node.id:
                used.update(placed.resources)
        return all(node.resources.get(name, 0.0) - used[name] + 1e-9 >= amount for name, amount in required.items())

    def _is_avoided(self, node: str) -> bool:
        return self._avoided.get(node, 0.0) > self._monotonic()
