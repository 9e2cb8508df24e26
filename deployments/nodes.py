"""CameraPlaces: the nodes of this cluster, as cameras are placed on them."""

from __future__ import annotations

import asyncio

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from app.fleet.placement import Node, Placement
from app.settings.cameras import CameraSettings

ASKED_S = 3.0
"""What the cluster's head may take to tell its nodes."""


class CameraPlaces(Placement):
    """Places cameras on the nodes that Ray tells of."""

    async def strategy(self, camera: CameraSettings) -> NodeAffinitySchedulingStrategy | str:
        """Return Ray's strategy for a camera's actor; where no node is known that has its resources, Ray waits."""
        chosen = self.place(camera, await living_nodes())
        # Soft: a node that has died meanwhile must not hold its camera up.
        return "SPREAD" if chosen is None else NodeAffinitySchedulingStrategy(chosen, soft=True)

    async def elsewhere(self, camera: CameraSettings) -> bool:
        """Return whether there is another node for a camera."""
        return self.may_move(camera, await living_nodes())


async def living_nodes() -> list[Node]:
    """Ask the cluster's head for the nodes; none while it does not answer."""
    try:
        return await asyncio.wait_for(asyncio.to_thread(_nodes), ASKED_S)
    except Exception:  # noqa: BLE001 - the head may be away for a while
        return []


def _nodes() -> list[Node]:
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [Node(node["NodeID"], node["Resources"], node["NodeManagerAddress"]) for node in nodes if node["Alive"]]
