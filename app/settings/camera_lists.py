"""CameraListSource: where the cameras are configured; it is read at the start and again while the system runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from app.errors import SettingsError
from app.settings.cameras import CameraSettings, camera_of
from app.settings.configured import Configured, fingerprint
from app.settings.list_files import entries_of, read_list_file

ConfiguredCameras = Configured[CameraSettings]
"""The cameras of one configuration."""


@dataclass(frozen=True)
class CameraListSource:
    """A cameras file, the text ``id=url,id=url``, or a list with the structure of such a file; exactly one of them."""

    kind: ClassVar[str] = "cameras"
    file: Path | None = None
    """The cameras file's absolute path."""
    inline: str = field(default="", repr=False)
    """``id=url,id=url``; it may hold passwords."""
    entries: tuple[Any, ...] | None = field(default=None, repr=False)
    """The list, as ``user_config`` gives it."""

    def text(self) -> str:
        """Return the text to parse: a file's content, else the inline list.

        Raises:
            SettingsError: the file cannot be read.
        """
        return self.inline if self.file is None else read_list_file(self.kind, self.file)

    def parse(self, text: str, environment: Mapping[str, str]) -> ConfiguredCameras:
        """Parse what :meth:`text` returned.

        Raises:
            SettingsError: an entry is wrong; one line, without secrets.
        """
        if self.entries is not None:
            return parse_cameras(self.entries, environment)
        if self.file is not None:
            return parse_cameras_file(text, self.file, environment)
        return parse_camera_list(text)

    def read(self, environment: Mapping[str, str]) -> ConfiguredCameras:
        """Read and parse the cameras as they are configured now; raises as the two methods above."""
        return self.parse(self.text(), environment)


_VARIABLE = re.compile(r"\$(\$)\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_ACCOUNT = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*@")
_BARE_ID = re.compile(r"^([^=/:?]*)=(.*)$")


def parse_camera_list(text: str) -> ConfiguredCameras:
    """Parse ``id=url,id=url``; an id may be left out (``cam-1``, ``cam-2``, …, by position).

    Raises:
        SettingsError: an entry is malformed, or an id is given twice.
    """
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    parsed = [_inline_entry(position, entry) for position, entry in enumerate(entries, start=1)]
    return _configure(
        [(f"SIGHTLINE_CAMERAS[{position}]", values, values) for position, values in enumerate(parsed, start=1)]
    )


def parse_cameras_file(text: str, file: Path, environment: Mapping[str, str]) -> ConfiguredCameras:
    """Parse a cameras file's text; ``${VAR}`` in a URL is taken from ``environment``: a password needs no encoding.

    Raises:
        SettingsError: the text, a key or a value is wrong, or a variable is not set.
    """
    return parse_cameras(entries_of(CameraListSource.kind, text, file), environment)


def parse_cameras(entries: Sequence[object], environment: Mapping[str, str]) -> ConfiguredCameras:
    """Parse the list of a cameras file.

    Raises:
        SettingsError: a key or a value is wrong, or a variable is not set.
    """
    return _configure([_entry(index, entry, environment) for index, entry in enumerate(entries)])


def camera_by_options(options: Mapping[str, Any], environment: Mapping[str, str]) -> CameraSettings:
    """Build one camera from a command's options, named like its fields; ``${VAR}`` as in a cameras file.

    Raises:
        SettingsError: a value is wrong, or a variable is not set.
    """
    values = {name: value for name, value in options.items() if value is not None}
    if isinstance(values.get("url"), str):
        values["url"] = _expand(values["url"], environment, "--url")
    return camera_of(values, _option)


def _option(field: str) -> str:
    """Return the option that sets a field; one that may be repeated is named in the singular."""
    name = field.partition(".")[0]
    return "--mask" if name == "masks" else f"--{name.replace('_', '-')}"


def _inline_entry(position: int, entry: str) -> dict[str, Any]:
    match = _BARE_ID.match(entry)
    camera_id, url = match.groups() if match else (f"cam-{position}", entry)
    # Only the comma is decoded: it is the only character that must be encoded in this list.
    return {"id": camera_id, "url": url.replace("%2C", ",").replace("%2c", ",")}


def _entry(index: int, entry: object, environment: Mapping[str, str]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    where = f"cameras[{index}]"
    if not isinstance(entry, dict):
        raise SettingsError(f"{where}: a {type(entry).__name__}; allowed is a mapping with id and url")
    values = dict(entry)
    if isinstance(values.get("url"), str):
        values["url"] = _expand(values["url"], environment, f"{where}.url")
    return where, values, dict(entry)


def _configure(entries: Iterable[tuple[str, Mapping[str, Any], Mapping[str, Any]]]) -> ConfiguredCameras:
    """Build the cameras from triples: position, values with variables expanded, entry as written."""
    cameras: list[CameraSettings] = []
    fingerprints: dict[str, str] = {}
    for where, values, written in entries:
        camera = camera_of(values, lambda field, where=where: f"{where}.{field}")  # type: ignore[misc]
        if camera.id in fingerprints:
            raise SettingsError(f"the camera id {camera.id!r} is given twice; ids are unique")
        cameras.append(camera)
        fingerprints[camera.id] = fingerprint(written)
    return ConfiguredCameras(tuple(cameras), fingerprints)


def _expand(text: str, environment: Mapping[str, str], key: str) -> str:
    account = _ACCOUNT.match(text)
    account_end = account.end() if account else 0

    def value(match: re.Match[str]) -> str:
        if match.group(1):
            return "${"  # written as $${
        if match.group(2) not in environment:
            raise SettingsError(f"{key}: the variable {match.group(2)} is not set")
        found = environment[match.group(2)]
        # A password may hold what ends the account: /, ?, #, @. What is percent-encoded already stays so.
        return quote(found, safe="%!$&'()*+,;=:") if match.end() < account_end else found

    return _VARIABLE.sub(value, text)
