"""Errors of the HTTP API, as RFC 9457 has them."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from fastapi.responses import JSONResponse
from pydantic import BaseModel

PROBLEM = "application/problem+json"
"""The media type of every error."""


class ProblemModel(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


def problems(*codes: int) -> dict[int | str, dict[str, object]]:
    """Document the errors of a route."""
    return {code: {"model": ProblemModel, "content": {PROBLEM: {}}} for code in codes}


def problem(
    status: int, detail: str, *, title: str | None = None, headers: Mapping[str, str] | None = None, **more: object
) -> JSONResponse:
    """Build the answer for an error; ``more`` are members of its own kind."""
    told = {"type": "about:blank", "title": title or HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse({**told, **more}, status_code=status, media_type=PROBLEM, headers=headers)
