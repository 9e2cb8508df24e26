"""RemotePublishers: the publisher's shards, as the ingress uses them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from ray import serve
from ray.exceptions import RayActorError, RayError

from app.errors import DeliveryUnavailable, SightlineError
from app.publisher import EvidenceAnswer, PublisherSnapshot, Receipt, ShardReading, Submission, merge_readings, shards_of
from app.rpc.codes import LOST_COMMIT
from app.telemetry.trouble_log import TroubleLog
from deployments.publisher import last_line, publisher_name

logger = logging.getLogger("ray.serve")

CALL_TIMEOUT_S = 10.0
"""What a call to the publisher may take before its events are given up."""
READING_TIMEOUT_S = 2.0
"""What one of several shards may take to return its accounts: whoever asks for all of them has little more time."""


class RemotePublisher:
    """One publisher actor; looked up again whenever it was recreated."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._handle: Any = None
        self._failures = TroubleLog(logger, f"the {name} fails", unit="calls", level=logging.ERROR)

    async def publish(self, submissions: Sequence[Submission]) -> Sequence[Receipt | SightlineError]:
        """Commit events.

        Raises:
            DeliveryUnavailable: the publisher is not there, or did not answer.
        """
        answers: Sequence[Receipt | SightlineError] = await self._call("publish", list(submissions))
        return answers

    async def reading(self, seconds: float | None = None, timeout_s: float = CALL_TIMEOUT_S) -> ShardReading:
        """Read the publisher's accounts; with ``seconds`` the latencies of events acknowledged since so long ago only.

        Raises:
            DeliveryUnavailable: the publisher is not there, or did not answer.
        """
        reading: ShardReading = await self._call("reading", seconds, timeout_s=timeout_s)
        return reading

    async def evidence(self, anomaly_id: str, kind: str) -> EvidenceAnswer | None:
        """Return the evidence of an incident; ``None`` where it has none of the kind.

        Raises:
            DeliveryUnavailable: the publisher is not there, or did not answer.
            StoreUnavailable: the store does not answer now.
        """
        found: EvidenceAnswer | None = await self._call("evidence", anomaly_id, kind)
        return found

    async def _call(self, method: str, *arguments: object, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        try:
            if self._handle is None:
                self._handle = serve.get_deployment_actor(self._name)
            return await asyncio.wait_for(getattr(self._handle, method).remote(*arguments), timeout_s)
        except ValueError:
            raise DeliveryUnavailable("the publisher is away; it is being started again") from None
        except (TimeoutError, RayActorError):
            self._handle = None
            raise DeliveryUnavailable(LOST_COMMIT) from None
        except RayError as error:
            self._failures.report(f"{method}: {last_line(error)}", error=error)
            raise DeliveryUnavailable("the publisher failed; its log says why") from None


class RemotePublishers:
    """All shards of the publisher."""

    def __init__(self, count: int) -> None:
        self.shards = tuple(RemotePublisher(publisher_name(shard)) for shard in shards_of(count))
        """In the order of their numbers."""

    async def snapshot(self, seconds: float | None = None) -> PublisherSnapshot:
        """Read the accounts of all shards as one; a shard that does not answer is named in it.

        With ``seconds`` the quantiles are of what Kafka got since so long ago.

        Raises:
            DeliveryUnavailable: none answers.
        """
        patience_s = READING_TIMEOUT_S if len(self.shards) > 1 else CALL_TIMEOUT_S
        asked = await asyncio.gather(*(_reading(shard, seconds, patience_s) for shard in self.shards))
        return merge_readings(asked)

    async def evidence(self, anomaly_id: str, kind: str) -> EvidenceAnswer | None:
        """Return the evidence of an incident, whichever shard has it; ``None`` where it has none of the kind.

        Raises:
            DeliveryUnavailable: a shard that may have it does not answer.
            StoreUnavailable: the store does not answer now.
        """
        asked = [shard.evidence(anomaly_id, kind) for shard in self.shards]
        return _first_of(await asyncio.gather(*asked, return_exceptions=True))


def _first_of(answers: Sequence[EvidenceAnswer | BaseException | None]) -> EvidenceAnswer | None:
    """Return the answer of the shard that has an incident; where none has it, the failure of one that may."""
    for answer in answers:
        if isinstance(answer, EvidenceAnswer):
            return answer
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return None


async def _reading(shard: RemotePublisher, seconds: float | None, timeout_s: float) -> ShardReading | SightlineError:
    try:
        return await shard.reading(seconds, timeout_s)
    except DeliveryUnavailable as error:
        return error
