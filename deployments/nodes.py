"""ClusterPlacement: places cameras on the nodes of this Ray cluster."""

from __future__ import annotations

import asyncio

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from app.fleet.placement import Node, Placement
from app.settings.cameras import CameraSettings

TIMEOUT_S = 3.0
"""Time-out of the question for the nodes."""


class ClusterPlacement(Placement):
    """Places cameras on the nodes that Ray's head knows."""

    async def strategy(self, camera: CameraSettings) -> NodeAffinitySchedulingStrategy | str:
        """Return Ray's strategy for a camera's actor; where no known node has its resources, Ray waits for one."""
        chosen = self.place(camera, await living_nodes())
        # Soft: a node that has died meanwhile must not block its camera.
        return "SPREAD" if chosen is None else NodeAffinitySchedulingStrategy(chosen, soft=True)

    async def can_move(self, camera: CameraSettings) -> bool:
        """Return whether another node could run a camera."""
        return self.may_move(camera, await living_nodes())


async def living_nodes() -> list[Node]:
    """Return the cluster's living nodes; none while its head does not answer."""
    try:
        return await asyncio.wait_for(asyncio.to_thread(_nodes), TIMEOUT_S)
    except Exception:  # noqa: BLE001 - the head may be away for a while
        return []


def _nodes() -> list[Node]:
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [Node(node["NodeID"], node["Resources"], node["NodeManagerAddress"]) for node in nodes if node["Alive"]]
