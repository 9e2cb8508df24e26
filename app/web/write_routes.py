"""The write side of the HTTP API: cameras are added, changed and removed (``proto/README.md``, "The HTTP API")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Protocol

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from app.cameras import CameraStatus
from app.errors import CameraExists, CameraUnknown, ChangeNotKept, RuleExists, RuleUnknown, SettingsError
from app.settings.cameras import CameraSettings
from app.web.camera_fields import CameraFields, NewCamera
from app.web.figures import LedgerModel, Model
from app.web.problems import problem, problems
from app.web.read_routes import Readings
from app.web.schemas import CameraModel

STATUSES: dict[type[Exception], int] = {
    SettingsError: 422,
    CameraUnknown: 404,
    CameraExists: 409,
    RuleUnknown: 404,
    RuleExists: 409,
    ChangeNotKept: 503,
}
"""The HTTP status of each error of a change."""


class CameraChanges(Protocol):
    """Changes the cameras of the running system; raises the errors of ``STATUSES``."""

    async def add(self, camera: CameraSettings) -> None:
        """Add a camera."""

    async def replace(self, camera: CameraSettings) -> None:
        """Change the camera of the same id."""

    async def remove(self, camera_id: str) -> CameraStatus | None:
        """Remove a camera, its last frames settled, and return its last status, if it answered."""


class RemovedModel(Model):
    """A camera that was removed."""

    id: str
    ledger: Annotated[LedgerModel | None, Field(description="Its last counts; null where it no longer answered.")]


def write_routes(changes: Callable[[], CameraChanges], readings: Callable[[], Readings]) -> APIRouter:
    """Build the routes over changes and answers, both looked up at each request."""
    routes = APIRouter(prefix="/api/v1/cameras", tags=["write"])

    @routes.post("", status_code=201, summary="Add a camera", responses=problems(400, 401, 403, 409, 413, 422, 503))
    async def add(camera: NewCamera, response: Response) -> CameraModel:
        await changes().add(camera.settings(camera.id))
        response.headers["location"] = f"/api/v1/cameras/{camera.id}"
        return await _changed(readings(), camera.id)

    @routes.put(
        "/{camera_id}",
        summary="Change a camera; the others lose no frame",
        responses=problems(400, 401, 403, 404, 413, 422, 503),
    )
    async def replace(camera_id: str, camera: CameraFields) -> CameraModel:
        readings().require(camera_id)
        await changes().replace(camera.settings(camera_id))
        return await _changed(readings(), camera_id)

    @routes.delete(
        "/{camera_id}",
        summary="Remove a camera, and return its ledger once its last frame is settled",
        responses=problems(401, 403, 404, 503),
    )
    async def remove(camera_id: str) -> RemovedModel:
        last_status = await changes().remove(camera_id)
        readings().forget()
        return RemovedModel(id=camera_id, ledger=LedgerModel.of(last_status.ledger) if last_status else None)

    return routes


def add_error_handlers(api: FastAPI) -> None:
    """Answer the errors of changes with problem documents."""

    async def refused(_request: Request, error: Exception) -> JSONResponse:
        return problem(STATUSES[type(error)], str(error))

    for kind in STATUSES:
        api.add_exception_handler(kind, refused)


async def _changed(readings: Readings, camera_id: str) -> CameraModel:
    readings.forget()
    return await readings.camera(camera_id)
