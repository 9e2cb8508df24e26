"""DetectionIngress: the gRPC face of Sightline, a shell around ``app.service``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any

import grpc
from pydantic import SecretStr
from ray import serve
from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import DeploymentStatusOverview

from app.errors import DeliveryUnavailable, ModelUnavailable, Overloaded, SightlineError
from app.events import PublisherSnapshot, Receipt, Submission
from app.rpc.codes import LOST_COMMIT, UNKNOWN_FAULT, status_of
from app.rpc.conversion import write_response
from app.rpc.serving import UnreadableRequest
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.service import DetectionService, DetectorAnswer, DetectorJob, ServiceLimits, ServiceLoad
from app.telemetry import RayMeter, ServiceTelemetry
from deployments.publisher import PUBLISHER

logger = logging.getLogger("ray.serve")

CALL_TIMEOUT_S = 10.0
"""What a call to a detector or to the publisher may take before its frames are given up."""
CENSUS_PERIOD_S = 1.0
"""How often the replicas are counted."""
ANXIOUS_CENSUS_PERIOD_S = 0.1
"""How often while there is none: the first one is not to be kept waiting for work."""


class RemoteDetectors:
    """The detector replicas behind their Serve handle."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle

    async def detect(self, jobs: Sequence[DetectorJob]) -> DetectorAnswer:
        """Run one batch on one replica.

        Raises:
            ModelUnavailable: no replica took it in time, or the one that did died.
            Overloaded: Serve's own queue is full.
        """
        try:
            answer: DetectorAnswer = await asyncio.wait_for(self._handle.detect.remote(list(jobs)), CALL_TIMEOUT_S)
        except (RayActorError, DeploymentUnavailableError):
            raise ModelUnavailable("the detector replica that had the frame is gone") from None
        except asyncio.TimeoutError:
            raise ModelUnavailable(f"no detector answered within {CALL_TIMEOUT_S:.0f} s") from None
        except BackPressureError:
            raise Overloaded("the detectors are full") from None
        return answer


class RemotePublisher:
    """The publisher actor; looked up again whenever it was recreated."""

    def __init__(self) -> None:
        self._handle: Any = None

    async def publish(self, submissions: Sequence[Submission]) -> Sequence[Receipt | SightlineError]:
        """Commit events.

        Raises:
            DeliveryUnavailable: the publisher is not there, or did not answer.
        """
        answers: Sequence[Receipt | SightlineError] = await self._call("publish", list(submissions))
        return answers

    async def snapshot(self) -> PublisherSnapshot:
        """Read the publisher's accounts.

        Raises:
            DeliveryUnavailable: the publisher is not there, or did not answer.
        """
        snapshot: PublisherSnapshot = await self._call("snapshot")
        return snapshot

    async def _call(self, method: str, *arguments: object) -> Any:
        try:
            if self._handle is None:
                self._handle = serve.get_deployment_actor(PUBLISHER)
            return await asyncio.wait_for(getattr(self._handle, method).remote(*arguments), CALL_TIMEOUT_S)
        except ValueError:
            raise DeliveryUnavailable("the publisher is away; it is being started again") from None
        except (RayActorError, asyncio.TimeoutError):
            self._handle = None
            raise DeliveryUnavailable(LOST_COMMIT) from None
        except RayError as error:
            logger.error("publisher call %s failed: %s", method, error)
            raise DeliveryUnavailable("the publisher failed; its log says why") from None


@serve.deployment(name="DetectionIngress")
class DetectionIngress:
    """Checks, batches, detects, publishes and answers ``Detect`` calls."""

    def __init__(
        self,
        detector: DeploymentHandle[Any],
        limits: ServiceLimits,
        slots_per_replica: int,
        token: SecretStr | None,
    ) -> None:
        self._publisher = RemotePublisher()
        self._slots_per_replica = slots_per_replica
        self._service = DetectionService(
            RemoteDetectors(detector),
            self._publisher,
            limits=limits,
            observer=ServiceTelemetry(RayMeter()),
            token=token.get_secret_value() if token else None,
        )
        self._census = asyncio.get_running_loop().create_task(self._count_replicas())

    async def Detect(  # noqa: N802 - the proto file names it
        self, request: pb.DetectRequest | UnreadableRequest, grpc_context: Any
    ) -> pb.DetectResponse:
        """Answer one call; every error is a code of the contract's table."""
        try:
            metadata = {key.lower(): value for key, value in grpc_context.invocation_metadata()}
            accepted = await self._service.detect(request, metadata)
            return write_response(accepted.event, accepted.total_ms)
        except Exception as error:
            code, details = status_of(error)
            if code is grpc.StatusCode.INTERNAL and details == UNKNOWN_FAULT:
                camera_id = request.camera_id[:64] if isinstance(request, pb.DetectRequest) else ""
                logger.exception("Detect failed for camera %r", camera_id)
            grpc_context.set_code(code)
            grpc_context.set_details(details)
            return pb.DetectResponse()

    async def publisher_snapshot(self) -> PublisherSnapshot:
        """Read the publisher's accounts, for status and for tests.

        Raises:
            DeliveryUnavailable: the publisher is away.
        """
        return await self._publisher.snapshot()

    async def load(self) -> ServiceLoad:
        """Tell what this replica has in hand."""
        return self._service.load

    async def _count_replicas(self) -> None:
        """Follow the autoscaler: the batcher may have so many batches out as the replicas can take."""
        with contextlib.suppress(DeliveryUnavailable):
            await self._publisher.snapshot()  # wakes it: it connects before the first event
        slots = 0
        while True:
            try:
                slots = await asyncio.to_thread(self._slots)
                self._service.resize(slots)
            except Exception:  # noqa: BLE001 - the controller may be away for a while
                logger.warning("the detector replicas cannot be counted; going on with the last count")
                slots = slots or 1  # no reason to ask a controller in trouble more often
            await asyncio.sleep(CENSUS_PERIOD_S if slots else ANXIOUS_CENSUS_PERIOD_S)

    def _slots(self) -> int:
        here = serve.get_replica_context()
        deployments = serve.status().applications[here.app_name].deployments
        detectors = _running(deployments["ObjectDetector"])
        ingresses = max(1, _running(deployments[here.deployment]))
        return -(-detectors * self._slots_per_replica // ingresses)

    async def __del__(self) -> None:
        self._census.cancel()
        await self._service.close()


def _running(deployment: DeploymentStatusOverview) -> int:
    """Count the replicas that take requests."""
    return sum(count for state, count in deployment.replica_states.items() if state == "RUNNING")
