"""The read side of the HTTP API (``proto/README.md``, "The HTTP API")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Query, Response

from app.cameras import Picture
from app.web.event_fields import EventModel
from app.web.event_hub import EventHub
from app.web.event_stream import EventStream
from app.web.facts import SystemSource
from app.web.problems import problems
from app.web.schemas import CameraModel, StatusModel
from app.web.shared_answer import SharedAnswer

STATUS_FOR_S = 1.0
"""How long an answer about the system is reused."""
_Seconds = Annotated[
    float | None,
    Query(
        gt=0,
        le=86_400,
        description="Take `capture_to_kafka_ms` of the events that Kafka acknowledged in the last so many seconds "
        "(of the last 2000 at most) rather than of the last 2000.",
    ),
]
PICTURE_FOR_S = 0.15
"""How long a picture is reused: ten viewers cost a camera as much as one."""


class Readings:
    """Answers about one running system, shared by all requests. For one event loop."""

    def __init__(self, source: SystemSource) -> None:
        self._source = source
        self.hub = EventHub(source)
        self._status = SharedAnswer(self._read, STATUS_FOR_S)
        self._pictures: dict[str, SharedAnswer[Picture | None]] = {}

    @property
    def camera_ids(self) -> Sequence[str]:
        """Ids of the desired cameras."""
        return self._source.camera_ids

    async def status(self, seconds: float | None = None) -> StatusModel:
        """Return the status; with ``seconds`` it is not shared, as other requests ask for other ones."""
        return await (self._status.get() if seconds is None else self._read(seconds))

    async def camera(self, camera_id: str) -> CameraModel:
        """Return one camera.

        Raises:
            HTTPException: there is no such camera.
        """
        self.require(camera_id)
        found = next((camera for camera in (await self.status()).cameras if camera.id == camera_id), None)
        if found is None:
            raise _no_such(camera_id)
        return found

    async def picture(self, camera_id: str) -> Picture | None:
        """Return the newest frame of a camera; ``None`` while there is none.

        Raises:
            HTTPException: there is no such camera.
        """
        self.require(camera_id)
        for removed in self._pictures.keys() - set(self._source.camera_ids):
            del self._pictures[removed]
        cached = self._pictures.setdefault(
            camera_id, SharedAnswer(partial(self._source.picture, camera_id), PICTURE_FOR_S)
        )
        return await cached.get()

    def forget(self) -> None:
        """Drop the shared status: the cameras have changed."""
        self._status.forget()

    def require(self, camera_id: str | None) -> None:
        """Check that a camera is one of the desired ones; ``None`` passes.

        Raises:
            HTTPException: there is no such camera.
        """
        if camera_id is not None and camera_id not in self._source.camera_ids:
            raise _no_such(camera_id)

    async def _read(self, seconds: float | None = None) -> StatusModel:
        return StatusModel.of(await self._source.facts(self.hub.viewers, seconds))


def _no_such(camera_id: str) -> HTTPException:
    return HTTPException(404, f"there is no camera {camera_id[:64]!r}")


def read_routes(readings: Callable[[], Readings]) -> APIRouter:
    """Build the routes over the answers, which are looked up at each request."""
    routes = APIRouter(prefix="/api/v1", tags=["read"])
    routes.add_api_route(
        "/status", _status(readings), methods=["GET"], summary="The whole system", responses=problems(422)
    )
    routes.add_api_route("/cameras", _cameras(readings), methods=["GET"], summary="Every camera")
    _add_camera(routes, readings)
    _add_events(routes, readings)
    return routes


def _status(readings: Callable[[], Readings]) -> Callable[..., object]:
    async def status(seconds: _Seconds = None) -> StatusModel:
        return await readings().status(seconds)

    return status


def _cameras(readings: Callable[[], Readings]) -> Callable[..., object]:
    async def cameras() -> list[CameraModel]:
        return list((await readings().status()).cameras)

    return cameras


def _add_camera(routes: APIRouter, readings: Callable[[], Readings]) -> None:
    @routes.get("/cameras/{camera_id}", summary="One camera", responses=problems(404))
    async def camera(camera_id: str) -> CameraModel:
        return await readings().camera(camera_id)

    @routes.get(
        "/cameras/{camera_id}/frame.jpg",
        summary="Its newest frame, as it was sent; X-Frame-Id names its event",
        response_class=Response,
        responses={
            200: {"content": {"image/jpeg": {}}},
            304: {"description": "It is still the frame that If-None-Match names."},
            **problems(404),
        },
    )
    async def frame(camera_id: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
        picture = await readings().picture(camera_id)
        if picture is None:
            raise HTTPException(404, f"camera {camera_id!r} has no frame to show yet, or does not answer")
        headers = _headers(picture)
        if if_none_match is not None and _names(if_none_match, headers["etag"]):
            return Response(status_code=304, headers=headers)
        return Response(picture.jpeg, media_type="image/jpeg", headers=headers)


def _headers(picture: Picture) -> dict[str, str]:
    return {
        "etag": f'"{picture.frame_id}"',
        "cache-control": "no-cache",
        "x-frame-id": picture.frame_id,
        "x-captured-at": picture.captured_at.isoformat(timespec="milliseconds"),
        "x-has-event": str(picture.accepted).lower(),
    }


def _names(if_none_match: str, etag: str) -> bool:
    named = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return etag in named or "*" in named


def _add_events(routes: APIRouter, readings: Callable[[], Readings]) -> None:
    @routes.get("/events", summary="The last events, newest first", responses=problems(404, 422))
    async def events(
        camera: Annotated[str | None, Query(description="Only this camera's.")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> list[EventModel]:
        readings().require(camera)
        return [EventModel.of(frame) for frame in await readings().hub.recent(camera, limit)]

    @routes.get(
        "/events/stream",
        summary="The events from now on, and the status every two seconds, as server-sent events",
        response_class=Response,
        responses={200: {"content": {"text/event-stream": {}}}, **problems(404, 503)},
    )
    async def stream(camera: Annotated[str | None, Query(description="Only this camera's.")] = None) -> Response:
        here = readings()
        here.require(camera)
        return EventStream(here.hub, here.status, camera)
