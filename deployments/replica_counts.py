"""Counting replicas: when Serve says that they have changed, and rarely otherwise.

``serve.status()`` costs some 20 ms of processor time, in which frames wait; every 3 s it took a tenth of the ingress's
interpreter. What Serve pushes to the router of every handle comes when the replicas change, and costs nothing between.
It is of Serve's inside, so it only says when to count: what counts, replicas that are being reconfigured too, is still
read from the public status, and where nothing is pushed they are counted every 3 s, as before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any, Protocol

import ray
from ray import serve
from ray.serve.schema import DeploymentStatusOverview

from app.telemetry.trouble_log import TroubleLog

logger = logging.getLogger("ray.serve")

NO_REPLICA_PERIOD_S = 0.1
"""Seconds between two counts while there is no replica: the first one is to get work at once."""
PERIOD_S = 3.0
"""Seconds between two counts where Serve pushes nothing."""
PUSHED_PERIOD_S = 30.0
"""The same where it does."""


class ReplicaChanges(Protocol):
    """Says when replicas have changed."""

    @property
    def works(self) -> bool:
        """Whether changes are reported at all."""

    async def wait(self, timeout_s: float) -> bool:
        """Wait for a change; return whether there was one within so many seconds."""


class PushedChanges:
    """The changes of deployments that Serve's controller pushes, as it does to the router of every handle."""

    def __init__(self, deployments: Collection[str]) -> None:
        """Subscribe; to be called in a replica, on its event loop. Where that fails, :attr:`works` is false."""
        self._changed = asyncio.Event()
        self._client: Any = None
        try:
            self._client = self._subscribe(deployments)
        except Exception as error:  # noqa: BLE001 - of Serve's inside, which another version may have otherwise
            logger.info("Serve pushes no changes of replicas (%s); they are counted periodically", error)

    def _subscribe(self, deployments: Collection[str]) -> Any:
        from ray.serve._private.common import DeploymentID
        from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
        from ray.serve._private.long_poll import LongPollClient, LongPollNamespace

        here = serve.get_replica_context()
        keys: list[Any] = [
            (LongPollNamespace.DEPLOYMENT_TARGETS, DeploymentID(name=name, app_name=here.app_name))
            for name in deployments
        ]
        return LongPollClient(
            ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE),
            dict.fromkeys(keys, self._notify),
            call_in_event_loop=asyncio.get_running_loop(),
            client_id=f"sightline-{here.replica_id.unique_id}",
        )

    @property
    def works(self) -> bool:
        """Whether changes are reported: no more once the controller has died."""
        return self._client is not None and bool(self._client.is_running)

    async def wait(self, timeout_s: float) -> bool:
        """Wait for a change; return whether there was one within so many seconds."""
        try:
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    def close(self) -> None:
        """Unsubscribe."""
        if self._client is not None:
            self._client.stop()

    def _notify(self, _: object) -> None:
        self._changed.set()


class SlotCounter:
    """Follows the autoscaler: how many batches the replicas can take at the same time."""

    def __init__(
        self,
        count: Callable[[int], int],
        resize: Callable[[int], None],
        changes: ReplicaChanges,
        report: Callable[[], None],
    ) -> None:
        """Set up a counter.

        Args:
            count: returns the slots, given the number before; called in a thread, as it asks the controller.
            resize: takes them over.
            changes: says when to count again.
            report: called at least every :data:`PERIOD_S`.
        """
        self._count = count
        self._resize = resize
        self._changes = changes
        self._report = report
        self._uncounted = TroubleLog(logger, "the detector replicas cannot be counted", unit="tries")
        self._slots = 0
        self._failed = False

    async def count(self) -> None:
        """Count now; where that fails, the last count is used."""
        try:
            self._slots = await asyncio.to_thread(self._count, self._slots)
            self._resize(self._slots)
            self._uncounted.resolve("the detector replicas are counted again")
            self._failed = False
        except Exception as error:  # noqa: BLE001 - the controller may be away for a while
            self._uncounted.report(f"{type(error).__name__}; the last count is used")
            self._slots = self._slots or 1  # no reason to call a controller in trouble more often
            self._failed = True

    async def run(self) -> None:
        """Count again and again, for as long as the replica lives."""
        while True:
            await self._rest()
            await self.count()

    async def _rest(self) -> None:
        """Wait until there is a reason to count, and report meanwhile."""
        if not self._slots:
            self._report()
            await asyncio.sleep(NO_REPLICA_PERIOD_S)
            return
        loop = asyncio.get_running_loop()
        end = loop.time() + (PUSHED_PERIOD_S if self._changes.works and not self._failed else PERIOD_S)
        while (left := end - loop.time()) > 0:
            self._report()
            if await self._changes.wait(min(left, PERIOD_S)):
                return


def running(deployment: DeploymentStatusOverview) -> int:
    """Count the replicas that take requests; one that takes another ``user_config`` is ``UPDATING`` meanwhile."""
    return sum(count for state, count in deployment.replica_states.items() if state in ("RUNNING", "UPDATING"))
