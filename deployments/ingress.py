"""DetectionIngress: the gRPC service of Sightline, a shell around ``app.ingress.service``."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from pydantic import SecretStr
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatus

from app.detection.messages import DetectorAnswer, DetectorJob
from app.errors import DeliveryUnavailable, ModelUnavailable, Overloaded
from app.ingress.service import DetectionService, ServiceLimits, ServiceLoad
from app.ingress.telemetry import ServiceTelemetry
from app.ingress.tracing import DetectedFrame, ServiceTracing
from app.publisher import EvidenceAnswer, IncidentQuery, PublisherSnapshot, RuleCount
from app.rpc.codes import UNKNOWN_FAULT, metadata_of, status_of
from app.rpc.conversion import write_response
from app.rpc.serving import UnreadableRequest
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.telemetry.tracing import TRACEPARENT
from app.telemetry.trouble_log import TroubleLog
from deployments.actor_logs import log_as_serve
from deployments.logs import print_to_terminal
from deployments.metrics import ray_meter
from deployments.remote_publisher import RemotePublishers
from deployments.replica_counts import PushedChanges, SlotCounter, running
from deployments.scaling import DETECTOR
from deployments.tracing import service_tracing

logger = logging.getLogger("ray.serve")

CALL_TIMEOUT_S = 10.0
"""Seconds that a call to a detector may take before its frames are given up."""
STATUS_TIMEOUT_S = 2.0
"""Seconds that Serve's controller may take to say whether the application ends."""


class RemoteDetectors:
    """The detector replicas behind their Serve handle."""

    def __init__(self, handle: DeploymentHandle[Any], tracing: ServiceTracing | None = None) -> None:
        # The messages are plain dataclasses: pickle carries them at a fraction of cloudpickle's cost.
        plain = handle.options(request_serialization="pickle", response_serialization="pickle")
        self._remote_detect = plain.detect.remote
        self._tracing = tracing

    async def detect(self, jobs: Sequence[DetectorJob]) -> DetectorAnswer:
        """Run one batch on one replica.

        Raises:
            ModelUnavailable: no replica took it in time, or the one that did died.
            Overloaded: Serve's own queue is full.
        """
        if self._tracing is None:
            return await self._call(jobs)
        with self._tracing.batch([job.traceparent for job in jobs]):
            return await self._call(jobs)

    async def _call(self, jobs: Sequence[DetectorJob]) -> DetectorAnswer:
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                answer: DetectorAnswer = await self._remote_detect(list(jobs))
        except (RayActorError, DeploymentUnavailableError):
            raise ModelUnavailable("the detector replica that had the frame is gone") from None
        except TimeoutError:
            raise ModelUnavailable(f"no detector answered within {CALL_TIMEOUT_S:.0f} s") from None
        except BackPressureError:
            raise Overloaded("the detectors are full") from None
        return answer


@serve.deployment(name="DetectionIngress")
class DetectionIngress:
    """Checks, batches, detects, publishes and answers ``Detect`` calls."""

    def __init__(
        self,
        detector: DeploymentHandle[Any],
        limits: ServiceLimits,
        slots_per_replica: int,
        token: SecretStr | None,
        shards: int = 1,
        anonymise: tuple[str, ...] = (),
    ) -> None:
        log_as_serve()
        self._tracing = service_tracing()
        self._publishers = RemotePublishers(shards)
        self._service = DetectionService(
            RemoteDetectors(detector, self._tracing),
            self._publishers.shards,
            limits=limits,
            observer=ServiceTelemetry(ray_meter()),
            token=token.get_secret_value() if token else None,
            anonymise=anonymise,
        )
        self._faults = TroubleLog(logger, "Detect failed", unit="calls", level=logging.ERROR)
        self._changes = PushedChanges((DETECTOR, serve.get_replica_context().deployment))
        slots = functools.partial(_slots, slots_per_replica)
        counter = SlotCounter(slots, self._service.resize, self._changes, self._service.report_waiting)
        self._counted = asyncio.Event()
        self._counting = asyncio.get_running_loop().create_task(self._follow_replicas(counter))

    async def Detect(  # noqa: N802 - the proto file names it
        self, request: pb.DetectRequest | UnreadableRequest, grpc_context: Any
    ) -> pb.DetectResponse:
        """Answer one call; every error is a code of the contract's table."""
        metadata = {key.lower(): value for key, value in grpc_context.invocation_metadata()}
        if self._tracing is None:
            metadata.pop(TRACEPARENT, None)  # nothing here would read it
            return await self._answer(request, grpc_context, metadata, None)
        with self._tracing.detect(metadata) as span:
            return await self._answer(request, grpc_context, {**metadata, TRACEPARENT: span.traceparent}, span)

    async def _answer(
        self,
        request: pb.DetectRequest | UnreadableRequest,
        grpc_context: Any,
        metadata: Mapping[str, str],
        span: DetectedFrame | None,
    ) -> pb.DetectResponse:
        try:
            accepted = await self._service.detect(request, metadata)
            if span is not None:
                span.answered(accepted.event)
            return write_response(accepted.event, accepted.total_ms, accepted.max_fps)
        except Exception as error:  # noqa: BLE001 - what escapes would reach the client with its stack
            code, details = status_of(error)
            camera_id = request.camera_id[:64] if isinstance(request, pb.DetectRequest) else ""
            if code is grpc.StatusCode.INTERNAL and details == UNKNOWN_FAULT:
                self._faults.report(f"{type(error).__name__}", error=error, camera_id=camera_id)
            if span is not None:
                span.failed(camera_id, code.name, details)
            grpc_context.set_code(code)
            grpc_context.set_details(details)
            if more := metadata_of(error, self._service.max_fps):
                grpc_context.set_trailing_metadata(more)
            return pb.DetectResponse()

    async def publisher_snapshot(self, seconds: float | None = None) -> PublisherSnapshot:
        """Return the publisher's accounts; with ``seconds`` the quantiles are of what Kafka got in so many seconds.

        Raises:
            DeliveryUnavailable: the publisher is away, with all its shards.
        """
        return await self._publishers.snapshot(seconds)

    async def evidence(self, anomaly_id: str, kind: str, signed: bool) -> EvidenceAnswer | None:
        """Return the evidence of an incident, by a signed address if that will do; ``None``: none of the kind.

        Raises:
            DeliveryUnavailable: the publisher is away, with all its shards.
        """
        return await self._publishers.evidence(anomaly_id, kind, signed)

    async def set_rules(self, rules: str) -> list[str]:
        """Put rules, a JSON list, into force in every shard, and return why those that do not have them do not."""
        return await self._publishers.set_rules(rules)

    async def end_camera(self, camera_id: str) -> None:
        """End the incidents and objects of a camera that was removed.

        Raises:
            DeliveryUnavailable: the publisher that has it is away; it ends them itself after a while.
        """
        await self._publishers.end_camera(camera_id)

    async def incidents(self, query: IncidentQuery) -> list[Mapping[str, Any]]:
        """Return incidents as they were published last, the newest first.

        Raises:
            DeliveryUnavailable: the publisher is away, with all its shards.
        """
        return await self._publishers.incidents(query)

    async def rule_counts(self, rule: str, from_ms: int, to_ms: int, step_ms: int) -> list[RuleCount]:
        """Return how often a rule found something, by steps of time.

        Raises:
            DeliveryUnavailable: the publisher is away, with all its shards.
        """
        return await self._publishers.rule_counts(rule, from_ms, to_ms, step_ms)

    async def load(self) -> ServiceLoad:
        """Return what waits and runs in this replica."""
        return self._service.load

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Return what the cameras offer; Serve carries it to its controller, where ``deployments.scaling`` reads it."""
        return self._service.demand.as_stats()

    async def check_health(self) -> None:
        """Wait for the first count of the replicas; Serve sends no call here before the first answer.

        A new revision's first frames would be refused otherwise, though the detectors are there.
        """
        await self._counted.wait()

    async def _follow_replicas(self, counter: SlotCounter) -> None:
        """Follow the autoscaler: the batcher may have as many batches under way as the replicas can take."""
        await counter.count()
        self._counted.set()
        with contextlib.suppress(DeliveryUnavailable):
            await self._publishers.snapshot()  # so that they are connected before the first event
        await counter.run()

    async def __del__(self) -> None:
        self._counting.cancel()
        self._changes.close()
        await self._service.close()
        if await self._is_being_deleted() and (line := await self._publishers.close()):
            print_to_terminal(f"sightline: stopped; {line}")

    async def _is_being_deleted(self) -> bool:
        """Return whether the whole application ends, and not only this replica of it.

        Then the publishers, which Serve ends after the last ingress, have nothing more to do.
        """
        name = serve.get_replica_context().app_name
        try:
            status = await asyncio.wait_for(asyncio.to_thread(serve.status), STATUS_TIMEOUT_S)
        except Exception:  # noqa: BLE001 - a controller that does not answer ends nothing in order
            return False
        application = status.applications.get(name)
        return application is None or application.status == ApplicationStatus.DELETING


def _slots(per_replica: int, last: int) -> int:
    """Return how many batches the detectors may have under way for this ingress replica; 0: no replica is there.

    It is ``last``, the number before, where the application is being deleted.
    """
    here = serve.get_replica_context()
    application = serve.status().applications.get(here.app_name)
    if application is None or not {DETECTOR, here.deployment} <= application.deployments.keys():
        return last
    detectors = running(application.deployments[DETECTOR])
    ingresses = max(1, running(application.deployments[here.deployment]))
    return -(-detectors * per_replica // ingresses)
