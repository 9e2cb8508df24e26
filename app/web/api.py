"""The HTTP API: whether the system is alive and ready (contract, section 7; the rest of it comes later)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Health:
    """Whether the system can do its work, and if not, why."""

    ready: bool
    reasons: tuple[str, ...] = ()


class HealthSource(Protocol):
    """Who knows how the system is."""

    async def health(self) -> Health:
        """Tell how it is now."""


def build_api(source: Callable[[], HealthSource]) -> FastAPI:
    """Build the ASGI application over a source of facts, looked up at each request."""
    api = FastAPI(title="Sightline", openapi_url="/api/v1/openapi.json", docs_url=None, redoc_url=None)

    @api.get("/healthz", response_class=PlainTextResponse, summary="Whether this process answers")
    async def healthz() -> str:
        return "alive\n"

    @api.get("/readyz", summary="Whether cameras are watched and their frames are answered")
    async def readyz() -> JSONResponse:
        health = await source().health()
        if health.ready:
            return JSONResponse({"ready": True, "reasons": []})
        problem = {
            "type": "about:blank",
            "title": "Not ready",
            "status": 503,
            "detail": "; ".join(health.reasons),
            "reasons": list(health.reasons),
        }
        return JSONResponse(problem, status_code=503, media_type=PROBLEM)

    @api.exception_handler(HTTPException)
    async def problem_of(_request: Request, error: HTTPException) -> JSONResponse:
        problem = {"type": "about:blank", "title": error.detail, "status": error.status_code}
        return JSONResponse(problem, status_code=error.status_code, media_type=PROBLEM, headers=error.headers)

    return api
