"""CameraSettings: one camera as its user asked for it, and the two ways to write a list of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from app.errors import SettingsError
from app.simulation import StreetSpec
from app.source_url import SourceKind, SourceUrl

CAMERA_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a camera may be called; the whole id must match."""
_VARIABLE = re.compile(r"\$(\$)\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_ACCOUNT = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*@")
_BARE_ID = re.compile(r"^([^=/:?]*)=(.*)$")


def _url(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        url = SourceUrl.parse(value)
        if url.kind is SourceKind.SYNTHETIC:
            StreetSpec.parse(url.reveal())
    except SettingsError as error:
        raise ValueError(str(error)) from None
    return url


def _custom(resources: Mapping[str, float]) -> Mapping[str, float]:
    for name, amount in resources.items():
        if name.upper() in ("CPU", "GPU", "MEMORY", "OBJECT_STORE_MEMORY"):
            raise ValueError(f"{name} is not for cameras; allowed are custom resources of the cluster")
        # Ray counts in ten-thousandths; above 1 it takes whole numbers only.
        if not 0.0001 <= amount <= 1_000_000 or (amount > 1 and amount != int(amount)):
            raise ValueError("allowed are 0.0001 to 1, and whole numbers")
    return resources


Fps = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
"""Frames a second."""
MaxSide = Annotated[int, Field(ge=16, le=16384)]
"""Pixels."""
JpegQuality = Annotated[int, Field(ge=1, le=100)]
USUAL_JPEG_QUALITY = 85


class CameraSettings(BaseModel):
    """One camera."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)

    id: Annotated[str, Field(pattern=rf"^{CAMERA_ID.pattern}$")]
    url: Annotated[SourceUrl, BeforeValidator(_url), PlainSerializer(str)]
    fps: Fps | None = None
    """Frames sampled per second; none: ``INFERENCE_FPS``."""
    max_side: MaxSide | None = None
    """Longest side, in pixels, of what is sent for inference; never enlarged."""
    jpeg_quality: JpegQuality = USUAL_JPEG_QUALITY
    resources: Annotated[Mapping[str, float], AfterValidator(_custom)] = Field(default_factory=dict)
    """Ray resources that place this camera's actor: custom ones, as a camera reserves no CPU, GPU or memory."""

    def with_fps(self, usual: float) -> CameraSettings:
        """Give it with frames per second of its own, the usual ones where it has none."""
        return self if self.fps else self.model_copy(update={"fps": usual})


@dataclass(frozen=True)
class ConfiguredCameras:
    """What a configuration says of cameras."""

    cameras: tuple[CameraSettings, ...]
    fingerprints: Mapping[str, str]
    """By camera id: a digest of what was written of it, ``${VARIABLES}`` as they stand. It tells whether somebody has
    changed what the configuration says of a camera; a new password in the environment does not change it."""


def parse_camera_list(text: str) -> ConfiguredCameras:
    """Read ``id=url,id=url``; an id may be left out (``cam-1``, ``cam-2``, …, by position).

    Raises:
        SettingsError: an entry is malformed, or an id is given twice.
    """
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    listed = [_listed(position, entry) for position, entry in enumerate(entries, start=1)]
    return _configured(
        [(f"SIGHTLINE_CAMERAS[{position}]", values, values) for position, values in enumerate(listed, start=1)]
    )


def parse_cameras_file(text: str, file: Path, environment: Mapping[str, str]) -> ConfiguredCameras:
    """Read a cameras file's text; ``${VAR}`` in a URL is taken from ``environment``: a password needs no encoding.

    Raises:
        SettingsError: the text, a key or a value is wrong, or a variable is not set.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"cameras file {str(file)!r} is not YAML: {reason}") from None
    wanted = content.get("cameras") if isinstance(content, dict) and set(content) == {"cameras"} else None
    if not isinstance(wanted, list):
        raise SettingsError(f"cameras file {str(file)!r} must hold one key, cameras, with a list")
    return parse_cameras(wanted, environment)


def parse_cameras(entries: Sequence[object], environment: Mapping[str, str]) -> ConfiguredCameras:
    """Read the list of a cameras file, as it stands there.

    Raises:
        SettingsError: a key or a value is wrong, or a variable is not set.
    """
    return _configured([_entry(index, entry, environment) for index, entry in enumerate(entries)])


def camera_of(values: Mapping[str, Any], where: str = "") -> CameraSettings:
    """Make one camera of its fields.

    Args:
        values: the fields by name.
        where: where they stand, for the error.

    Raises:
        SettingsError: a key or a value is wrong; it shows no secret.
    """
    try:
        return CameraSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        key = ".".join(part for part in (where, *(str(part) for part in first["loc"])) if part)
        message = first["msg"].removeprefix("Value error, ").removeprefix("url: " if key == "url" else "")
        # A URL may hold a password: what is wrong with it is told by its own parser, redacted.
        value = values.get(str(first["loc"][0])) if first["loc"] and first["loc"][0] != "url" else None
        raise SettingsError(f"{key}: {f'{value!r}: ' if value is not None else ''}{message}") from None


def _listed(position: int, entry: str) -> dict[str, Any]:
    match = _BARE_ID.match(entry)
    camera_id, url = match.groups() if match else (f"cam-{position}", entry)
    # Only the comma is decoded: it alone had to be encoded to stand in this list.
    return {"id": camera_id, "url": url.replace("%2C", ",").replace("%2c", ",")}


def _entry(index: int, entry: object, environment: Mapping[str, str]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    where = f"cameras[{index}]"
    if not isinstance(entry, dict):
        raise SettingsError(f"{where}: a {type(entry).__name__}; allowed is a mapping with id and url")
    values = dict(entry)
    if isinstance(values.get("url"), str):
        values["url"] = _expand(values["url"], environment, where)
    return where, values, dict(entry)


def _configured(entries: Iterable[tuple[str, Mapping[str, Any], Mapping[str, Any]]]) -> ConfiguredCameras:
    """Make cameras of where each stands, what it comes to, and what was written."""
    cameras: list[CameraSettings] = []
    fingerprints: dict[str, str] = {}
    for where, values, written in entries:
        camera = camera_of(values, where)
        if camera.id in fingerprints:
            raise SettingsError(f"the camera id {camera.id!r} is given twice; ids are unique")
        cameras.append(camera)
        fingerprints[camera.id] = _fingerprint(written)
    return ConfiguredCameras(tuple(cameras), fingerprints)


def _fingerprint(written: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(written, sort_keys=True, default=str).encode()).hexdigest()


def _expand(text: str, environment: Mapping[str, str], where: str) -> str:
    account = _ACCOUNT.match(text)
    account_end = account.end() if account else 0

    def value(match: re.Match[str]) -> str:
        if match.group(1):
            return "${"  # written as $${
        if match.group(2) not in environment:
            raise SettingsError(f"{where}.url: the variable {match.group(2)} is not set")
        found = environment[match.group(2)]
        # A password may hold what would end the account: /, ?, #, @. What is encoded already stays so.
        return quote(found, safe="%!$&'()*+,;=:") if match.end() < account_end else found

    return _VARIABLE.sub(value, text)
