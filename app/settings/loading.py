"""Load the settings: the environment over the file over the defaults (contract, section 1)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from app.core.one_line import one_line
from app.errors import SettingsError
from app.settings.camera_lists import CamerasGiven, camera_by_options
from app.settings.connections import check_security
from app.settings.environment import ENVIRONMENT, SECRETS, from_environment, read_failure
from app.settings.paths import DEMO_CAMERAS, find_file, where_looked
from app.settings.settings import Settings

_SECTIONS = frozenset({"cameras", "tls", "kafka", "detector", "spool", "publisher", "token"})


def load_settings(
    environment: Mapping[str, str], file: Path | None = None, camera: Mapping[str, Any] | None = None
) -> Settings:
    """Resolve all settings: the environment over the file over the defaults.

    Args:
        environment: the variables of the process, as ``process_environment`` returns them.
        file: a YAML file with the structure of :class:`Settings`, or none.
        camera: the one camera there is to be, by the options of a command; none: those of environment and file.

    Raises:
        SettingsError: one line that names the key, the value and what is allowed.
    """
    values = _values(environment, file)
    wanted = values.pop("cameras", DEMO_CAMERAS)
    settings = _validate(values)
    check_security(settings.kafka, settings.tls)
    if camera is None:
        cameras = _cameras_given(wanted).read(environment).cameras
    else:
        cameras = (camera_by_options(camera, environment),)
    filled = tuple(one.with_fps(settings.inference_fps) for one in cameras)
    return settings.model_copy(update={"cameras": filled})


def cameras_given(environment: Mapping[str, str], file: Path | None = None) -> CamerasGiven:
    """Tell where the cameras are written, by the same settings.

    Raises:
        SettingsError: the settings cannot be read.
    """
    return _cameras_given(_values(environment, file).get("cameras", DEMO_CAMERAS))


def cameras_file_or_list(wanted: str) -> CamerasGiven:
    """Tell a cameras file's path from ``id=url,id=url``."""
    if wanted.endswith((".yaml", ".yml")):
        return CamerasGiven(file=find_file(wanted).absolute())
    return CamerasGiven(listed=wanted)


def _read_file(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(find_file(file).read_text())
    except FileNotFoundError as error:
        raise SettingsError(
            f"settings file {str(file)!r} cannot be read: {read_failure(error)}{where_looked(file)}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {str(file)!r} cannot be read: {read_failure(error)}") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"settings file {str(file)!r} is not YAML: {one_line(error)}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingsError(f"settings file {str(file)!r} must be a mapping of settings")
    return values


def _apply(values: dict[str, Any], found: list[tuple[tuple[str, ...], str]]) -> None:
    for path, value in found:
        here = values
        for key in path[:-1]:
            inner = here.setdefault(key, {})
            if not isinstance(inner, dict):
                raise SettingsError(f"{key} must be a mapping of settings, not {type(inner).__name__}")
            here = inner
        here[path[-1]] = value


def _validate(values: dict[str, Any]) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_explain(error, values)) from None


def _explain(error: ValidationError, values: dict[str, Any]) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    loc = tuple(str(part) for part in first["loc"])
    known = [name for name, path in ENVIRONMENT.items() if path == loc[: len(path)]]
    key = ".".join(loc[: len(ENVIRONMENT[known[0]])]) if known else ".".join(loc)
    if first["type"] == "extra_forbidden":
        return f"{key} is not a setting; see configs/sightline.yaml for those there are"
    value = _look_up(values, key)
    # A whole section may hold a secret: only a single value is shown, and no secret one.
    shown = "" if set(known) & SECRETS or not _is_single(loc, value) else f"{value!r}: "
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}{f' ({known[0]})' if known else ''}: {shown}{message[0].lower()}{message[1:]}"


def _is_single(loc: tuple[str, ...], value: object) -> bool:
    return (len(loc) > 1 or loc[0] not in _SECTIONS) and not isinstance(value, (dict, list))


def _look_up(values: dict[str, Any], key: str) -> object:
    here: Any = values
    for part in key.split("."):
        here = here.get(part) if isinstance(here, dict) else None
    return here


def _values(environment: Mapping[str, str], file: Path | None) -> dict[str, Any]:
    values = _read_file(file) if file else {}
    _apply(values, from_environment(environment))
    return values


def _cameras_given(wanted: object) -> CamerasGiven:
    if not isinstance(wanted, str):
        kind = type(wanted).__name__
        raise SettingsError(
            f"cameras (SIGHTLINE_CAMERAS): a {kind}; allowed are a cameras file's path and id=url,id=url"
        )
    given = cameras_file_or_list(wanted)
    if given.file is not None and not given.file.is_file():
        looked = where_looked(wanted)
        raise SettingsError(f"SIGHTLINE_CAMERAS: {wanted!r} is not there; give a cameras file or id=url,id=url{looked}")
    return given
