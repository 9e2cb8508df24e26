"""Pictures and clips of incidents in the HTTP API (``proto/README.md``, "The HTTP API")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import RedirectResponse

from app.publisher import EvidenceAnswer
from app.web.anomaly_routes import Incidents
from app.web.problems import problems

_Redirect = Annotated[
    bool, Query(description="false: the bytes are answered here, for who cannot reach the store; the page asks so.")
]


def evidence_routes(incidents: Callable[[], Incidents]) -> APIRouter:
    """Build the routes over incidents, which are looked up at each request."""
    routes = APIRouter(prefix="/api/v1/anomalies", tags=["read"])

    @routes.get("/{anomaly_id}/image", summary="Its picture", response_class=Response, responses=_answers("image/jpeg"))
    async def image(anomaly_id: str, redirect: _Redirect = True) -> Response:
        return _response(await incidents().evidence(anomaly_id, "snapshot", signed=redirect))

    @routes.get("/{anomaly_id}/clip", summary="Its clip", response_class=Response, responses=_answers("video/mp4"))
    async def clip(anomaly_id: str, redirect: _Redirect = True) -> Response:
        return _response(await incidents().evidence(anomaly_id, "clip", signed=redirect))

    return routes


def _answers(content_type: str) -> dict[int | str, dict[str, object]]:
    return {
        200: {
            "content": {content_type: {}},
            "description": "Its bytes, while they are here, or where no redirection is wanted.",
        },
        307: {"description": "A signed address in the store, good for fifteen minutes."},
        **problems(404, 422, 503),
    }


def _response(answer: EvidenceAnswer) -> Response:
    if answer.url is not None:
        return RedirectResponse(answer.url, headers={"cache-control": "no-store"})
    assert answer.data is not None
    return Response(answer.data, media_type=answer.content_type, headers={"cache-control": "private, max-age=60"})
