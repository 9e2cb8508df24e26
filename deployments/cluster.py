"""RayCluster: what the manager asks the cluster beside its cameras: publisher, ingress, deployments and proxies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from ray import serve
from ray.serve.schema import ProxyStatus

from app.errors import DeliveryUnavailable
from app.fleet.proxies import Proxy
from app.ingress.service import ServiceLoad
from app.publisher import EvidenceAnswer, IncidentQuery, PublisherSnapshot, RuleCount
from app.settings.rule_lists import dump_rules
from app.settings.rules import RuleFields
from app.web import DeploymentFacts, LoadFacts
from deployments.actors import last_line
from deployments.nodes import living_nodes
from deployments.remote_publisher import EVIDENCE_TIMEOUT_S

INFERENCE = "inference"
"""Name of the inference application in ``serve_config.yaml``."""
TIMEOUT_S = 3.0
"""Time-out of each question."""


class RayCluster:
    """Asks this cluster; a part that does not answer in time, or at all, is reported as unknown."""

    async def publisher(self, seconds: float | None = None) -> PublisherSnapshot | None:
        """Return the publisher's counts; ``None`` while the inference application cannot be reached.

        With ``seconds`` the latencies are of the events that Kafka acknowledged in the last so many seconds.
        """
        try:
            handle = serve.get_app_handle(INFERENCE)
            answer = handle.publisher_snapshot.remote(seconds)
            snapshot: PublisherSnapshot = await asyncio.wait_for(answer, TIMEOUT_S)
        except Exception:  # noqa: BLE001 - for whatever reason, it cannot be reached
            return None
        return snapshot

    async def evidence(self, anomaly_id: str, kind: str, signed: bool) -> EvidenceAnswer | None:
        """Return the evidence of an incident, by a signed address if that will do; ``None``: none of the kind.

        Raises:
            DeliveryUnavailable: it cannot be asked now.
        """
        try:
            answer = serve.get_app_handle(INFERENCE).evidence.remote(anomaly_id, kind, signed)
            found: EvidenceAnswer | None = await asyncio.wait_for(answer, EVIDENCE_TIMEOUT_S + TIMEOUT_S)
        except Exception as error:  # noqa: BLE001 - for whatever reason, it cannot be reached
            raise DeliveryUnavailable(last_line(error)) from None
        return found

    async def set_rules(self, rules: tuple[RuleFields, ...]) -> Sequence[str]:
        """Send all rules to all shards of the publisher, and return why those that do not have them now do not."""
        try:
            answer = serve.get_app_handle(INFERENCE).set_rules.remote(dump_rules(rules))
            reasons: Sequence[str] = await asyncio.wait_for(answer, TIMEOUT_S)
        except Exception:  # noqa: BLE001 - for whatever reason, it cannot be reached
            return ("the inference application cannot be reached",)
        return reasons

    async def end_camera(self, camera_id: str) -> None:
        """Have the publisher end the incidents of a camera that was removed; one that is away does so itself, later."""
        with contextlib.suppress(Exception):  # for whatever reason, it cannot be reached
            await asyncio.wait_for(serve.get_app_handle(INFERENCE).end_camera.remote(camera_id), TIMEOUT_S)

    async def incidents(self, query: IncidentQuery) -> Sequence[Mapping[str, Any]] | None:
        """Return incidents, the newest first; ``None`` while the publisher cannot be reached."""
        try:
            answer = serve.get_app_handle(INFERENCE).incidents.remote(query)
            found: Sequence[Mapping[str, Any]] = await asyncio.wait_for(answer, TIMEOUT_S)
        except Exception:  # noqa: BLE001 - for whatever reason, it cannot be reached
            return None
        return found

    async def rule_counts(self, rule: str, from_ms: int, to_ms: int, step_ms: int) -> Sequence[RuleCount] | None:
        """Return how often a rule found something; ``None`` while the publisher cannot be reached."""
        try:
            answer = serve.get_app_handle(INFERENCE).rule_counts.remote(rule, from_ms, to_ms, step_ms)
            found: Sequence[RuleCount] = await asyncio.wait_for(answer, TIMEOUT_S)
        except Exception:  # noqa: BLE001 - for whatever reason, it cannot be reached
            return None
        return found

    async def load(self) -> LoadFacts | None:
        """Return what one ingress replica has in hand; ``None`` while it cannot be reached."""
        try:
            handle = serve.get_app_handle(INFERENCE)
            load: ServiceLoad = await asyncio.wait_for(handle.load.remote(), TIMEOUT_S)
        except Exception:  # noqa: BLE001 - for whatever reason, it cannot be reached
            return None
        return LoadFacts(load.frames_waiting, load.batches_running, load.events_waiting)

    async def deployments(self) -> tuple[DeploymentFacts, ...]:
        """Return every deployment of this cluster; none while the controller does not answer."""
        try:
            return await asyncio.wait_for(asyncio.to_thread(_deployments), TIMEOUT_S)
        except Exception:  # noqa: BLE001 - the controller may be away for a while
            return ()

    async def is_deploying(self) -> bool:
        """Return whether the inference application is being deployed; errors of Serve are raised."""
        application = (await asyncio.to_thread(serve.status)).applications.get(INFERENCE)
        return application is not None and application.status in ("DEPLOYING", "NOT_STARTED")

    async def healthy_proxies(self) -> tuple[Proxy, ...] | None:
        """Return the healthy proxies of Serve; ``None`` where the controller does not answer.

        In a cluster of one node there is no choice: the controller is not asked, and there are none.
        """
        nodes = await living_nodes()
        if len(nodes) < 2:
            return () if nodes else None
        try:
            proxies = (await asyncio.wait_for(asyncio.to_thread(serve.status), TIMEOUT_S)).proxies
        except Exception:  # noqa: BLE001 - the controller may be away for a while
            return None
        return tuple(Proxy(node.id, node.ip) for node in nodes if proxies.get(node.id) == ProxyStatus.HEALTHY)


def _deployments() -> tuple[DeploymentFacts, ...]:
    found = []
    for name, application in serve.status().applications.items():
        for deployment, overview in application.deployments.items():
            states = {str(getattr(key, "value", key)): count for key, count in overview.replica_states.items()}
            found.append(
                DeploymentFacts(
                    application=name,
                    name=deployment,
                    running=states.get("RUNNING", 0),
                    starting=states.get("STARTING", 0) + states.get("PENDING_ALLOCATION", 0),
                    state=str(getattr(overview.status, "value", overview.status)).lower(),
                )
            )
    return tuple(found)
