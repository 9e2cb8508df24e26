"""The HTTP API: whether the system is alive and ready, what it sees, and the live page (contract, section 7)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.telemetry.trouble_log import TroubleLog
from app.web.auth import Guard
from app.web.body_limit import BodyLimit
from app.web.facts import HealthSource
from app.web.page import page_routes
from app.web.problems import problem
from app.web.read_routes import Readings, read_routes
from app.web.write_routes import CameraChanges, tell_errors, write_routes

logger = logging.getLogger(__name__)


class Host(HealthSource, Protocol):
    """Who knows how the system is, and whom it may be told."""

    @property
    def token(self) -> str | None:
        """The bearer token that is asked for; none: no token is."""

    @property
    def readings(self) -> Readings:
        """What is read of it, shared by all who ask."""

    @property
    def changes(self) -> CameraChanges:
        """Who changes its cameras."""


def build_api(host: Callable[[], Host]) -> FastAPI:
    """Build the ASGI application over a source of facts, looked up at each request."""
    api = FastAPI(title="Sightline", openapi_url="/api/v1/openapi.json", docs_url=None, redoc_url=None)
    api.add_middleware(BodyLimit)
    api.add_middleware(Guard, token=lambda: host().token)

    @api.get("/healthz", response_class=PlainTextResponse, summary="Whether this process answers")
    async def healthz() -> str:
        return "alive\n"

    @api.get("/readyz", summary="Whether cameras are watched and their frames are answered")
    async def readyz() -> JSONResponse:
        health = await host().health()
        if health.ready:
            return JSONResponse({"ready": True, "reasons": []})
        return problem(503, "; ".join(health.reasons), title="Not ready", reasons=list(health.reasons))

    api.include_router(read_routes(lambda: host().readings))
    api.include_router(write_routes(lambda: host().changes, lambda: host().readings))
    api.include_router(page_routes())

    tell_errors(api)

    @api.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        headers = {"allow": _allowed(api, request)} if error.status_code == 405 else error.headers
        return problem(error.status_code, error.detail, headers=headers)

    @api.exception_handler(RequestValidationError)
    async def malformed(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return problem(422, f"{place}: {first['msg']}")

    failures = TroubleLog(logger, "requests to the HTTP API failed", unit="requests", level=logging.ERROR)

    @api.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        failures.again(f"{type(error).__name__} in {request.method} {request.url.path}", error=error)
        return problem(500, "the service failed on this request; its log says why")

    return api


def _allowed(api: FastAPI, request: Request) -> str:
    """Return every method of a path; Starlette names those of the first route that has the path."""
    routes = [route for route in api.routes if route.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted(set().union(*(getattr(route, "methods", None) or () for route in routes))))
