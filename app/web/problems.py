"""Problem documents: errors of the HTTP API (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from fastapi.responses import JSONResponse
from pydantic import BaseModel

PROBLEM = "application/problem+json"
"""The media type of every error."""


class ProblemModel(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


def problems(*codes: int) -> dict[int | str, dict[str, object]]:
    """Return the OpenAPI responses of a route's errors."""
    return {code: {"model": ProblemModel, "content": {PROBLEM: {}}} for code in codes}


def problem(
    status: int, detail: str, *, title: str | None = None, headers: Mapping[str, str] | None = None, **more: object
) -> JSONResponse:
    """Build the answer for an error; ``more`` are extension members."""
    members = {"type": "about:blank", "title": title or HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse({**members, **more}, status_code=status, media_type=PROBLEM, headers=headers)
