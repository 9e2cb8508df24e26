"""What the manager asks the cluster beside its cameras: the publisher, the ingress's load, Serve's deployments."""

from __future__ import annotations

import asyncio

from ray import serve
from ray.serve.schema import ProxyStatus

from app.fleet.proxies import Proxy
from app.ingress.service import ServiceLoad
from app.publisher import PublisherSnapshot
from app.web import DeploymentFacts, LoadFacts
from deployments.nodes import living_nodes

INFERENCE = "inference"
"""Name of the inference application in ``serve_config.yaml``."""
ANSWER_TIMEOUT_S = 3.0
"""What a camera, the ingress or the publisher may take to tell how it is."""


async def publisher_snapshot(seconds: float | None = None) -> PublisherSnapshot | None:
    """Read the publisher's accounts, where the inference application is in this cluster.

    With ``seconds`` the quantiles are of what Kafka got since so long ago.
    """
    try:
        handle = serve.get_app_handle(INFERENCE)
        asked = handle.publisher_snapshot.remote(seconds)
        snapshot: PublisherSnapshot = await asyncio.wait_for(asked, ANSWER_TIMEOUT_S)
    except Exception:  # noqa: BLE001 - whatever keeps it away, it is away
        return None
    return snapshot


async def ingress_load() -> LoadFacts | None:
    """Ask an ingress replica what it has in hand."""
    try:
        handle = serve.get_app_handle(INFERENCE)
        load: ServiceLoad = await asyncio.wait_for(handle.load.remote(), ANSWER_TIMEOUT_S)
    except Exception:  # noqa: BLE001 - whatever keeps it away, it is away
        return None
    return LoadFacts(load.frames_waiting, load.batches_running, load.events_waiting)


async def deployments() -> tuple[DeploymentFacts, ...]:
    """Ask the controller for every deployment of this cluster; none while it is away."""
    try:
        return await asyncio.wait_for(asyncio.to_thread(_deployments), ANSWER_TIMEOUT_S)
    except Exception:  # noqa: BLE001 - the controller may be away for a while
        return ()


async def healthy_proxies() -> tuple[Proxy, ...] | None:
    """Ask which nodes run a healthy proxy of Serve's; none is known where the controller is away.

    In a cluster of one node there is nothing to choose, and the controller is not asked.
    """
    nodes = await living_nodes()
    if len(nodes) < 2:
        return () if nodes else None
    try:
        proxies = (await asyncio.wait_for(asyncio.to_thread(serve.status), ANSWER_TIMEOUT_S)).proxies
    except Exception:  # noqa: BLE001 - the controller may be away for a while
        return None
    return tuple(Proxy(node.id, node.ip) for node in nodes if proxies.get(node.id) == ProxyStatus.HEALTHY)


def _deployments() -> tuple[DeploymentFacts, ...]:
    found = []
    for name, application in serve.status().applications.items():
        for deployment, overview in application.deployments.items():
            states = {str(getattr(key, "value", key)): count for key, count in overview.replica_states.items()}
            running = states.get("RUNNING", 0)
            found.append(
                DeploymentFacts(
                    application=name,
                    name=deployment,
                    running=running,
                    starting=states.get("STARTING", 0) + states.get("PENDING_ALLOCATION", 0),
                    state=str(getattr(overview.status, "value", overview.status)).lower(),
                )
            )
    return tuple(found)
