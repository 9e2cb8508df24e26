"""The HTTP API: health, status, events, cameras, rules, incidents, live page (``proto/README.md``, "The HTTP API")."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.core.validation import InvalidValue
from app.telemetry.trouble_log import TroubleLog
from app.web.anomaly_routes import Incidents, anomaly_routes
from app.web.auth import Guard
from app.web.body_limit import BodyLimit
from app.web.evidence_routes import evidence_routes
from app.web.facts import HealthSource
from app.web.page import page_routes
from app.web.problems import problem
from app.web.read_routes import Readings, read_routes
from app.web.rule_routes import RuleChanges, rule_routes
from app.web.write_routes import CameraChanges, add_error_handlers, write_routes

logger = logging.getLogger(__name__)


class Host(HealthSource, Protocol):
    """The system behind the API."""

    @property
    def token(self) -> str | None:
        """The bearer token that requests must carry; ``None``: none is required."""

    @property
    def readings(self) -> Readings:
        """Its answers, shared by all requests."""

    @property
    def changes(self) -> CameraChanges:
        """Changes its cameras."""

    @property
    def rules(self) -> RuleChanges:
        """Its rules."""

    @property
    def incidents(self) -> Incidents:
        """What the rules found, shared by all requests."""


def build_api(host: Callable[[], Host]) -> FastAPI:
    """Build the ASGI application over a system, which is looked up at each request."""
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
    api.include_router(rule_routes(lambda: host().rules, lambda: host().readings))
    api.include_router(evidence_routes(lambda: host().incidents))
    api.include_router(anomaly_routes(lambda: host().incidents, lambda: host().rules, lambda: host().readings))
    api.include_router(page_routes())

    add_error_handlers(api)

    @api.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        headers = {"allow": _allowed(api, request)} if error.status_code == 405 else error.headers
        return problem(error.status_code, error.detail, headers=headers)

    @api.exception_handler(RequestValidationError)
    async def malformed(_request: Request, error: RequestValidationError) -> JSONResponse:
        invalid = InvalidValue.first_of(error)
        return problem(422, invalid.line(invalid.key))

    failures = TroubleLog(logger, "requests to the HTTP API failed", unit="requests", level=logging.ERROR)

    @api.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        failures.report(f"{type(error).__name__} in {request.method} {request.url.path}", error=error)
        return problem(500, "the service failed on this request; its log has the reason")

    return api


def _allowed(api: FastAPI, request: Request) -> str:
    """Return every method of a path; Starlette names only those of the first route with that path."""
    routes = [route for route in api.routes if route.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted(set().union(*(getattr(route, "methods", None) or () for route in routes))))
