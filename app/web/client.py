"""ApiClient: the client of the running system's HTTP API, for the commands."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import SecretStr, TypeAdapter, ValidationError

from app.errors import NothingThere, SettingsError, SystemAway, SystemRefused
from app.web.anomaly_fields import AnomalyModel
from app.web.event_fields import EventModel
from app.web.rule_fields import RemovedRuleModel, RuleModel
from app.web.schemas import CameraModel, StatusModel
from app.web.write_routes import RemovedModel

T = TypeVar("T")
TIMEOUT_S = 15.0
"""Time-out of a request."""
_EVENTS = TypeAdapter(tuple[EventModel, ...])
_INVALID = frozenset({400, 404, 409, 413, 422})
"""Statuses of a change that is invalid, rather than one that could not be made."""
_CAMERAS = TypeAdapter(tuple[CameraModel, ...])
_RULES = TypeAdapter(tuple[RuleModel, ...])
_ANOMALIES = TypeAdapter(tuple[AnomalyModel, ...])


@dataclass(frozen=True)
class Snapshot:
    """One frame of a camera, and its event."""

    frame_id: str
    jpeg: bytes
    event: EventModel | None
    """``None`` where the frame became no event."""
    before: tuple[EventModel, ...] = ()
    """Events of the camera's frames before it, newest first; not all of them where they come fast."""


def address_of(config: Mapping[str, Any]) -> str:
    """Return the address of a Serve configuration's HTTP API, as seen from this machine."""
    options = config.get("http_options") or {}
    host = options.get("host") or "127.0.0.1"
    # A server on every interface is reached from here on loopback.
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://{f'[{local}]' if ':' in local else local}:{options.get('port', 8000)}"


def _path_of(camera_id: str) -> str:
    return f"/api/v1/cameras/{urllib.parse.quote(camera_id, safe='')}"


def _path_of_rule(rule_id: str) -> str:
    return f"/api/v1/rules/{urllib.parse.quote(rule_id, safe='')}"


class ApiClient:
    """The client of one running system."""

    def __init__(self, address: str, token: SecretStr | None = None) -> None:
        self.address = address
        self._headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
        # An address of this machine: proxies named in the environment are not used.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def status(self, seconds: float | None = None) -> StatusModel:
        """Return the status; with ``seconds`` Kafka's latencies are of the events of the last so many seconds."""
        query = "" if seconds is None else f"?seconds={seconds:.3f}"
        return self._read(TypeAdapter(StatusModel), f"/api/v1/status{query}")

    def cameras(self) -> tuple[CameraModel, ...]:
        """Return every camera."""
        return self._read(_CAMERAS, "/api/v1/cameras")

    def add(self, camera_id: str, fields: Mapping[str, Any], *, replace: bool = False) -> CameraModel:
        """Add a camera.

        Args:
            camera_id: its id.
            fields: the fields of PUT, by name.
            replace: whether an existing camera of that id is replaced.

        Raises:
            SettingsError: the id is taken, or a field is wrong.
        """
        if replace and camera_id in [camera.id for camera in self.cameras()]:
            return self._read(TypeAdapter(CameraModel), _path_of(camera_id), "PUT", fields)
        return self._read(TypeAdapter(CameraModel), "/api/v1/cameras", "POST", {"id": camera_id, **fields})

    def remove(self, camera_id: str) -> RemovedModel:
        """Remove a camera; on return its last frames are settled.

        Raises:
            SettingsError: there is no such camera.
        """
        return self._read(TypeAdapter(RemovedModel), _path_of(camera_id), "DELETE")

    def rules(self) -> tuple[RuleModel, ...]:
        """Return every rule."""
        return self._read(_RULES, "/api/v1/rules")

    def add_rule(self, fields: Mapping[str, Any], *, replace: bool = False) -> RuleModel:
        """Add a rule.

        Args:
            fields: as a rules file has them.
            replace: whether an existing rule of that id is replaced.

        Raises:
            SettingsError: the id is taken, or a field is wrong.
        """
        if replace and fields.get("id") in [rule.id for rule in self.rules()]:
            return self._read(TypeAdapter(RuleModel), _path_of_rule(str(fields["id"])), "PUT", fields)
        return self._read(TypeAdapter(RuleModel), "/api/v1/rules", "POST", fields)

    def remove_rule(self, rule_id: str) -> RemovedRuleModel:
        """Remove a rule.

        Raises:
            SettingsError: there is no such rule.
        """
        return self._read(TypeAdapter(RemovedRuleModel), _path_of_rule(rule_id), "DELETE")

    def anomalies(self, **query: str | None) -> tuple[AnomalyModel, ...]:
        """Return incidents, the newest first.

        Args:
            query: ``active``, ``camera``, ``since`` and ``limit``, as the HTTP API has them; ``None`` leaves one out.
        """
        given = urllib.parse.urlencode({name: value for name, value in query.items() if value is not None})
        return self._read(_ANOMALIES, f"/api/v1/anomalies?{given}")

    def snapshot(self, camera_id: str) -> Snapshot:
        """Return the newest frame of a camera, with its event.

        Raises:
            SettingsError: there is no such camera.
            NothingThere: it has no frame yet, or does not answer.
        """
        self._require(camera_id)
        body, headers = self._ask(f"/api/v1/cameras/{camera_id}/frame.jpg")
        frame_id = headers.get("x-frame-id", "")
        events = self._events_up_to(camera_id, frame_id) if headers.get("x-has-event") == "true" else ()
        return Snapshot(frame_id, body, events[0] if events else None, events[1:])

    def _events_up_to(self, camera_id: str, frame_id: str) -> tuple[EventModel, ...]:
        """Return the events of a frame and of those before it, newest first; none where it is not among them."""
        # The service caches its answers for half a second: the event of a new frame may need a second request.
        for _ in range(20):
            events = self._read(_EVENTS, f"/api/v1/events?camera={camera_id}&limit=100")
            for place, event in enumerate(events):
                if event.frame_id == frame_id:
                    return events[place:]
        return ()

    def _require(self, camera_id: str) -> None:
        known = [camera.id for camera in self.cameras()]
        if camera_id not in known:
            raise SettingsError(f"there is no camera {camera_id!r}; there are {', '.join(known) or 'none'}")

    def _read(self, kind: TypeAdapter[T], path: str, method: str = "GET", fields: Mapping[str, Any] | None = None) -> T:
        body, _ = self._ask(path, method, fields)
        try:
            return kind.validate_json(body)
        except ValidationError:
            raise SystemRefused(f"what answers at {self.address} is not Sightline, or another version of it") from None

    def _ask(
        self, path: str, method: str = "GET", fields: Mapping[str, Any] | None = None
    ) -> tuple[bytes, Mapping[str, str]]:
        """Send one request, and return the body and the headers, their names in lower case.

        Raises:
            SystemAway: nothing answers.
            SystemRefused: it answers with an error.
            SettingsError: it refuses a change as invalid.
        """
        body = None if fields is None else json.dumps(fields).encode()
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        request = urllib.request.Request(self.address + path, body, headers, method=method)  # noqa: S310 - always http
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                return answer.read(), {name.lower(): value for name, value in answer.headers.items()}
        except urllib.error.HTTPError as error:
            refusal = self._refusal(error)
            if method != "GET" and error.code in _INVALID:
                raise SettingsError(refusal.removeprefix(f"{self.address}: ").removeprefix("body.")) from None
            raise (NothingThere if error.code == 404 else SystemRefused)(refusal) from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise SystemAway(
                f"no Sightline answers at {self.address} ({reason}); start it with 'sightline up', "
                "or name its Serve configuration with --config"
            ) from None

    def _refusal(self, error: urllib.error.HTTPError) -> str:
        if error.code == 401:
            return f"{self.address} asks for a token: set SIGHTLINE_TOKEN to the one it was started with"
        try:
            detail = str(json.loads(error.read())["detail"])
        except (ValueError, KeyError, TypeError, OSError):
            detail = f"{error.code} {error.reason}"
        return f"{self.address}: {detail}"
