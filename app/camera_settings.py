"""CameraSettings: one camera as its user asked for it, and the two ways to write a list of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
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


class CameraSettings(BaseModel):
    """One camera."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)

    id: Annotated[str, Field(pattern=rf"^{CAMERA_ID.pattern}$")]
    url: Annotated[SourceUrl, BeforeValidator(_url), PlainSerializer(str)]
    fps: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] | None = None
    """Frames sampled per second; none: ``INFERENCE_FPS``."""
    max_side: Annotated[int, Field(ge=16, le=16384)] | None = None
    """Longest side, in pixels, of what is sent for inference; never enlarged."""
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 85
    resources: Annotated[Mapping[str, float], AfterValidator(_custom)] = Field(default_factory=dict)
    """Ray resources that place this camera's actor: custom ones, as a camera reserves no CPU, GPU or memory."""


def parse_camera_list(text: str) -> tuple[CameraSettings, ...]:
    """Read ``id=url,id=url``; an id may be left out (``cam-1``, ``cam-2``, …, by position).

    Raises:
        SettingsError: an entry is malformed, or an id is given twice.
    """
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    return _unique(_listed(position, entry) for position, entry in enumerate(entries, start=1))


def read_cameras_file(file: Path, environment: Mapping[str, str]) -> tuple[CameraSettings, ...]:
    """Read a cameras file; ``${VAR}`` in a URL is taken from ``environment``, as it is: a password needs no encoding.

    Raises:
        SettingsError: the file, a key or a value is wrong, or a variable is not set.
    """
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"cameras file {str(file)!r} cannot be read") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"cameras file {str(file)!r} is not YAML: {reason}") from None
    wanted = content.get("cameras") if isinstance(content, dict) and set(content) == {"cameras"} else None
    if not isinstance(wanted, list):
        raise SettingsError(f"cameras file {str(file)!r} must hold one key, cameras, with a list")
    return _unique(_entry(index, entry, environment) for index, entry in enumerate(wanted))


def camera_by_options(options: Mapping[str, Any], environment: Mapping[str, str]) -> CameraSettings:
    """Read one camera from a command's options, which are called as its fields; ``${VAR}`` as in a cameras file.

    Raises:
        SettingsError: a value is wrong, or a variable is not set.
    """
    values = {name: value for name, value in options.items() if value is not None}
    if isinstance(values.get("url"), str):
        values["url"] = _expand(values["url"], environment, "--url")
    return _camera(values, lambda field: f"--{field.replace('_', '-')}")


def _listed(position: int, entry: str) -> CameraSettings:
    match = _BARE_ID.match(entry)
    camera_id, url = match.groups() if match else (f"cam-{position}", entry)
    # Only the comma is decoded: it alone had to be encoded to stand in this list.
    url = url.replace("%2C", ",").replace("%2c", ",")
    return _camera({"id": camera_id, "url": url}, lambda field: f"SIGHTLINE_CAMERAS[{position}].{field}")


def _entry(index: int, entry: object, environment: Mapping[str, str]) -> CameraSettings:
    where = f"cameras[{index}]"
    if not isinstance(entry, dict):
        raise SettingsError(f"{where}: a {type(entry).__name__}; allowed is a mapping with id and url")
    values = dict(entry)
    if isinstance(values.get("url"), str):
        values["url"] = _expand(values["url"], environment, f"{where}.url")
    return _camera(values, lambda field: f"{where}.{field}")


def _expand(text: str, environment: Mapping[str, str], key: str) -> str:
    account = _ACCOUNT.match(text)
    account_end = account.end() if account else 0

    def value(match: re.Match[str]) -> str:
        if match.group(1):
            return "${"  # written as $${
        if match.group(2) not in environment:
            raise SettingsError(f"{key}: the variable {match.group(2)} is not set")
        found = environment[match.group(2)]
        # A password may hold what would end the account: /, ?, #, @. What is encoded already stays so.
        return quote(found, safe="%!$&'()*+,;=:") if match.end() < account_end else found

    return _VARIABLE.sub(value, text)


def _camera(values: dict[str, Any], key_of: Callable[[str], str]) -> CameraSettings:
    try:
        return CameraSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        key = key_of(".".join(str(part) for part in first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        # A URL may hold a password: what is wrong with it is told by its own parser, redacted.
        value = values.get(str(first["loc"][0])) if first["loc"] and first["loc"][0] != "url" else None
        raise SettingsError(f"{key}: {f'{value!r}: ' if value is not None else ''}{message}") from None


def _unique(cameras: Iterable[CameraSettings]) -> tuple[CameraSettings, ...]:
    listed = tuple(cameras)
    seen: set[str] = set()
    for camera in listed:
        if camera.id in seen:
            raise SettingsError(f"the camera id {camera.id!r} is given twice; ids are unique")
        seen.add(camera.id)
    return listed
