"""Incidents and counts in the HTTP API (``proto/README.md``, "The HTTP API")."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, HTTPException, Query
from pydantic import BeforeValidator

from app.errors import DeliveryUnavailable
from app.publisher import EvidenceAnswer, IncidentQuery, RuleCount
from app.web.anomaly_fields import AnomalyModel, CountModel, CountsModel
from app.web.problems import problems
from app.web.read_routes import Readings
from app.web.rule_routes import RuleChanges, require_rule
from app.web.shared_answer import SharedAnswer

SHARED_FOR_S = 1.0
"""How long an answer about incidents is reused: the page of ten viewers costs the publisher as much as one."""
MAX_SHARED = 100
"""Different questions whose answers are kept."""
MAX_STEPS = 10_000
"""Steps of time that one answer may span."""
_ISO = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


def _iso(value: object) -> object:
    """Return a time as it was written; pydantic would take a number for seconds since 1970."""
    if isinstance(value, str) and not _ISO.match(value):
        raise ValueError("allowed is a time in ISO 8601, such as 2026-01-10T12:00:00Z")
    return value


Time = Annotated[datetime, BeforeValidator(_iso)]


class IncidentSource(Protocol):
    """Provides incidents and counts; each answer is ``None`` while the publisher cannot be reached."""

    async def incidents(self, query: IncidentQuery) -> Sequence[Mapping[str, Any]] | None:
        """Return incidents as they were published last, the newest first."""

    async def rule_counts(self, rule: str, from_ms: int, to_ms: int, step_ms: int) -> Sequence[RuleCount] | None:
        """Return how often a rule found something, by steps of time."""

    async def evidence(self, anomaly_id: str, kind: str, signed: bool) -> EvidenceAnswer | None:
        """Return the evidence of an incident, by a signed address if that will do; ``None``: none of the kind.

        Raises:
            DeliveryUnavailable: the publisher cannot be reached.
        """


class Incidents:
    """Answers about incidents, shared by all requests. For one event loop."""

    def __init__(self, source: IncidentSource, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._monotonic = monotonic
        self._shared: dict[IncidentQuery, SharedAnswer[Sequence[Mapping[str, Any]] | None]] = {}

    async def find(self, query: IncidentQuery) -> tuple[AnomalyModel, ...]:
        """Return incidents, the newest first.

        Raises:
            HTTPException: the publisher cannot be reached.
        """
        shared = self._shared.get(query)
        if shared is None:
            if len(self._shared) >= MAX_SHARED:
                self._shared.clear()
            shared = self._shared[query] = SharedAnswer(
                lambda: self._source.incidents(query), SHARED_FOR_S, self._monotonic
            )
        found = await shared.get()
        if found is None:
            raise _away()
        return tuple(AnomalyModel.model_validate(one) for one in found)

    async def evidence(self, anomaly_id: str, kind: str, *, signed: bool = True) -> EvidenceAnswer:
        """Return the bytes of an incident's evidence, or a signed address of them if that will do.

        Raises:
            HTTPException: there is none, or the publisher cannot be reached.
        """
        try:
            found = await self._source.evidence(anomaly_id, kind, signed)
        except DeliveryUnavailable:
            raise _away() from None
        if found is None:
            raise HTTPException(404, f"the incident {anomaly_id[:64]!r} has no {kind}")
        if found.url is None and found.data is None:
            raise HTTPException(404, f"the {kind} is not there: {found.reason}")
        return found

    async def counts(self, rule: str, since: datetime, until: datetime, step_s: int) -> CountsModel:
        """Return how often a rule found something.

        Raises:
            HTTPException: the publisher cannot be reached.
        """
        found = await self._source.rule_counts(rule, _milliseconds(since), _milliseconds(until), step_s * 1000)
        if found is None:
            raise _away()
        return CountsModel(
            rule=rule, since=since, until=until, step=step_s, counts=tuple(CountModel.of(one) for one in found)
        )


def anomaly_routes(
    incidents: Callable[[], Incidents], rules: Callable[[], RuleChanges], readings: Callable[[], Readings]
) -> APIRouter:
    """Build the routes over incidents, rules and answers, all looked up at each request."""
    routes = APIRouter(prefix="/api/v1", tags=["read"])

    @routes.get("/anomalies", summary="The last incidents, newest first", responses=problems(404, 422, 503))
    async def anomalies(
        active: Annotated[
            bool | None, Query(description="true: those that go on; false: those that have ended.")
        ] = None,
        camera: Annotated[str | None, Query(description="Only this camera's.")] = None,
        since: Annotated[
            Time | None, Query(description="Those that go on, or ended since; UTC where it has no offset.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> tuple[AnomalyModel, ...]:
        readings().require(camera)
        since_ms = None if since is None else _milliseconds(_aware(since))
        return await incidents().find(IncidentQuery(camera_id=camera, active=active, since_ms=since_ms, limit=limit))

    @routes.get("/anomalies/{anomaly_id}", summary="One incident, as published last", responses=problems(404, 503))
    async def anomaly(anomaly_id: str) -> AnomalyModel:
        found = await incidents().find(IncidentQuery(anomaly_id=anomaly_id, limit=1))
        if not found:
            raise HTTPException(404, f"there is no incident {anomaly_id[:64]!r}")
        return found[0]

    @routes.get(
        "/rules/{rule_id}/counts",
        summary="How often a rule found something, by steps of time",
        responses=problems(404, 422, 503),
    )
    async def counts(
        rule_id: str,
        since: Annotated[
            Time | None, Query(alias="from", description="An hour before `to` where it is not given.")
        ] = None,
        until: Annotated[Time | None, Query(alias="to", description="Now where it is not given.")] = None,
        step: Annotated[int, Query(ge=60, le=31_536_000, multiple_of=60, description="Seconds.")] = 60,
    ) -> CountsModel:
        require_rule(rules(), rule_id)
        end = datetime.now(UTC) if until is None else _aware(until)
        begin = max(_EARLIEST, end - timedelta(hours=1)) if since is None else _aware(since)
        if begin >= end:
            raise HTTPException(422, "from: it must be before to")
        if (end - begin) / timedelta(seconds=step) > MAX_STEPS:
            raise HTTPException(422, f"step: so short a one gives more than {MAX_STEPS} steps between from and to")
        return await incidents().counts(rule_id, begin, end, step)

    return routes


def _aware(time: datetime) -> datetime:
    """Return a time in UTC, no earlier than 1970: no frame is older."""
    return max(_EARLIEST, time.replace(tzinfo=UTC) if time.tzinfo is None else time)


def _milliseconds(time: datetime) -> int:
    return (time - _EARLIEST) // timedelta(milliseconds=1)


def _away() -> HTTPException:
    return HTTPException(503, "the publisher, which keeps the incidents, does not answer; try again")
