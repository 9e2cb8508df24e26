"""RemotePublishers: the publisher's shards, as the ingress uses them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

from ray import serve
from ray.exceptions import RayActorError, RayError

from app.errors import DeliveryUnavailable, SightlineError
from app.publisher import (
    Closing,
    EvidenceAnswer,
    IncidentQuery,
    PublisherSnapshot,
    Receipt,
    RuleCount,
    ShardReading,
    Submission,
    closing_line,
    merge_readings,
    shard_of,
    shards_of,
)
from app.rpc.codes import LOST_COMMIT
from app.telemetry.trouble_log import TroubleLog
from deployments.actors import SETTLE_S, last_line, publisher_name

logger = logging.getLogger("ray.serve")

T = TypeVar("T")
CALL_TIMEOUT_S = 10.0
"""What a call to the publisher may take before its events are given up."""
EVIDENCE_TIMEOUT_S = 30.0
"""What the question for a picture or a clip may take: it may have to be read from the store."""
READING_TIMEOUT_S = 2.0
"""What one of several shards may take to return its accounts: whoever asks for all of them has little more time."""


CLOSE_TIMEOUT_S = 3 * SETTLE_S + 1.0
"""What a publisher may take to be closed: it waits for commits, for events on their way, for its connection to end."""


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

    async def evidence(self, anomaly_id: str, kind: str, signed: bool) -> EvidenceAnswer | None:
        """Return the evidence of an incident; ``None`` where it has none of the kind.

        Raises:
            DeliveryUnavailable: the publisher is not there, or did not answer.
        """
        found: EvidenceAnswer | None = await self._call(
            "evidence", anomaly_id, kind, signed, timeout_s=EVIDENCE_TIMEOUT_S
        )
        return found

    async def close(self) -> Closing | None:
        """Close the publisher; ``None`` where it was closed before.

        Raises:
            DeliveryUnavailable: the publisher is not there, or did not answer.
        """
        closing: Closing | None = await self._call("close", timeout_s=CLOSE_TIMEOUT_S)
        return closing

    async def set_rules(self, rules: str) -> None:
        """Put rules, a JSON list, into force from the next committed frame on; the publisher keeps them.

        Raises:
            SettingsError: one of them is wrong.
            DeliveryUnavailable: the publisher is not there, did not answer, or cannot keep them.
        """
        await self._call("set_rules", rules, timeout_s=READING_TIMEOUT_S)

    async def end_camera(self, camera_id: str) -> None:
        """End the incidents and objects of a camera that was removed.

        Raises:
            DeliveryUnavailable: the publisher is not there, or did not answer; it ends them later, as they are silent.
        """
        await self._call("end_cameras", [camera_id], timeout_s=READING_TIMEOUT_S)

    async def incidents(self, query: IncidentQuery) -> Sequence[Mapping[str, Any]]:
        """Return incidents as they were published last, the newest first.

        Raises:
            DeliveryUnavailable: the publisher is not there, or did not answer.
        """
        found: Sequence[Mapping[str, Any]] = await self._call("incidents", query, timeout_s=READING_TIMEOUT_S)
        return found

    async def rule_counts(self, rule: str, from_ms: int, to_ms: int, step_ms: int) -> Sequence[RuleCount]:
        """Return how often a rule found something, by steps of time.

        Raises:
            DeliveryUnavailable: the publisher is not there, or did not answer.
        """
        found: Sequence[RuleCount] = await self._call(
            "rule_counts", rule, from_ms, to_ms, step_ms, timeout_s=READING_TIMEOUT_S
        )
        return found

    async def _call(self, method: str, *arguments: object, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        try:
            if self._handle is None:
                self._handle = serve.get_deployment_actor(self._name)
            async with asyncio.timeout(timeout_s):
                return await getattr(self._handle, method).remote(*arguments)
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

    async def evidence(self, anomaly_id: str, kind: str, signed: bool) -> EvidenceAnswer | None:
        """Return the evidence of an incident, whichever shard has it; ``None`` where it has none of the kind.

        Raises:
            DeliveryUnavailable: a shard that may have it does not answer.
        """
        asked = [shard.evidence(anomaly_id, kind, signed) for shard in self.shards]
        return _first_of(await asyncio.gather(*asked, return_exceptions=True))

    async def set_rules(self, rules: str) -> list[str]:
        """Put rules, a JSON list, into force in every shard, and return why those that do not have them do not."""
        asked = await asyncio.gather(*(shard.set_rules(rules) for shard in self.shards), return_exceptions=True)
        reasons = []
        for number, outcome in enumerate(asked):
            if isinstance(outcome, SightlineError):
                reasons.append(f"shard {number}: {outcome}" if len(self.shards) > 1 else str(outcome))
            elif outcome is not None:
                raise outcome
        return reasons

    async def end_camera(self, camera_id: str) -> None:
        """End the incidents and objects of a camera that was removed, in the shard that has it.

        Raises:
            DeliveryUnavailable: that shard is not there, or did not answer.
        """
        await self.shards[shard_of(camera_id, len(self.shards))].end_camera(camera_id)

    async def incidents(self, query: IncidentQuery) -> list[Mapping[str, Any]]:
        """Return incidents of all shards that answer, the newest first.

        Raises:
            DeliveryUnavailable: none answers.
        """
        found = await self._of_those_that_answer([shard.incidents(query) for shard in self.shards])
        # By the start, as each shard does; times in ISO 8601 of one length are in the order of their text.
        return sorted(found, key=lambda one: str(one["started_at"]), reverse=True)[: query.limit]

    async def rule_counts(self, rule: str, from_ms: int, to_ms: int, step_ms: int) -> list[RuleCount]:
        """Return how often a rule found something in all shards that answer, in the order of time.

        Raises:
            DeliveryUnavailable: none answers.
        """
        found = await self._of_those_that_answer(
            [shard.rule_counts(rule, from_ms, to_ms, step_ms) for shard in self.shards]
        )
        return sorted(found, key=lambda one: one.from_ms)

    async def _of_those_that_answer(self, asked: Sequence[Awaitable[Sequence[T]]]) -> list[T]:
        answers = await asyncio.gather(*asked, return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        if failures and (len(failures) == len(answers) or not isinstance(failures[0], DeliveryUnavailable)):
            raise failures[0]
        return [one for answer in answers if not isinstance(answer, BaseException) for one in answer]

    async def close(self) -> str:
        """Close all shards; return one line on what they published and what waits, or nothing if they were closed."""
        closed = await asyncio.gather(*(shard.close() for shard in self.shards), return_exceptions=True)
        if all(one is None for one in closed):
            return ""
        return closing_line([one if isinstance(one, Closing) else None for one in closed])


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
