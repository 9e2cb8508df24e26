"""The live page: a few files of the package, and nothing from another host."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Response

_FOLDER = Path(__file__).parent / "static"
PAGE_FILES = {
    "/": "index.html",
    "/page.css": "page.css",
    "/page.js": "page.js",
    "/incidents.js": "incidents.js",
    "/evidence.js": "evidence.js",
    "/elements.js": "elements.js",
}
"""Paths of the page. The files hold nothing about the system: a browser fetches them before it has a token."""
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""Content-Security-Policy: nothing from another host, no inline script or style."""


def page_routes() -> APIRouter:
    """Build the routes of the page."""
    routes = APIRouter(include_in_schema=False)
    for path, name in PAGE_FILES.items():
        routes.add_api_route(path, _serve(_FOLDER / name), methods=["GET"], response_class=Response)
    return routes


def _serve(file: Path) -> Callable[..., object]:
    content = file.read_bytes()
    etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {
        "etag": etag,
        "cache-control": "no-cache",
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }

    async def page(if_none_match: Annotated[str | None, Header()] = None) -> Response:
        if if_none_match == etag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=_TYPES[file.suffix], headers=headers)

    return page
