"""RayCameraActors: starts camera actors on the nodes of this cluster, for ``app.fleet.CameraSupervisor``."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from app.core.one_line import one_line
from app.errors import ActorDied
from app.fleet.proxies import Proxy
from app.settings.cameras import CameraSettings
from deployments.camera import CameraActor, CameraServiceOptions
from deployments.nodes import ClusterPlacement

ONE_BYTE = 1
"""Every node has it. An actor that asks for nothing at all is handed to a random node first, even to one that has
fallen silent, where it hangs; and where it lands there it stays: Ray followed a soft affinity for 2 of 6 (Ray 2.60)."""
_ACTOR_CLASS = ray.remote(CameraActor)
"""Made once: to Ray each ``ray.remote`` is another class, whose methods this process keeps for good (17 KB with Ray
2.60), and whose code the cluster's head keeps (15 KB)."""


class RayActorHandle:
    """One camera's actor; errors of Ray become ``ActorDied``."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def run(self) -> None:
        """Return once the camera's source has ended.

        Raises:
            ActorDied: the actor has died, or cannot be reached.
        """
        await self.call("run")

    async def call(self, method: str, *arguments: object) -> Any:
        """Call a method of the actor and return its result.

        Raises:
            ActorDied: the actor has died, or cannot be reached.
        """
        try:
            return await getattr(self._actor, method).remote(*arguments)
        except (RayError, ValueError) as error:
            raise ActorDied(_reason(error)) from None

    def kill(self) -> None:
        """End its process at once; one that has ended already is no error."""
        with contextlib.suppress(RayError, ValueError):
            ray.kill(self._actor)


class RayCameraActors(ClusterPlacement):
    """Starts camera actors, each on the node that the placement chooses."""

    def __init__(self, options: CameraServiceOptions) -> None:
        """Start actors with these options, as far as the setters below do not change them."""
        super().__init__()
        self.options = options
        """What every actor started from now on is given."""

    def set_budget(self, budget_ms: int) -> None:
        """Set the latency budget of actors that are started from now on, in milliseconds."""
        self.options = replace(self.options, budget_ms=budget_ms)

    def set_proxies(self, proxies: tuple[Proxy, ...]) -> None:
        """Set the proxies of actors that are started from now on."""
        self.options = replace(self.options, proxies=proxies)

    async def start(self, settings: CameraSettings, epoch: int) -> RayActorHandle:
        """Start a camera's actor.

        Raises:
            ActorDied: Ray refuses it.
        """
        strategy = await self.strategy(settings)
        try:
            actor = _ACTOR_CLASS.options(
                num_cpus=0,
                memory=ONE_BYTE,
                resources=dict(settings.resources),
                scheduling_strategy=strategy,
                max_concurrency=16,
            ).remote(settings, self.options, epoch)
        except (RayError, ValueError) as error:
            raise ActorDied(_reason(error)) from None
        return RayActorHandle(actor)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # The last line of an error that crossed processes is the error itself; the first says that it did.
    return one_line(lines[-1] if isinstance(error, RayTaskError | ActorDiedError) else lines[0])
