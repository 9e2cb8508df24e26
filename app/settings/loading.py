"""Load the settings: the environment overrides the file, which overrides the defaults.

The precedence is documented in (``configs/README.md``, "Settings").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from app.core.one_line import one_line
from app.core.read_failure import read_failure
from app.core.validation import InvalidValue
from app.errors import SettingsError
from app.settings.camera_lists import CameraListSource, camera_by_options
from app.settings.cameras import CameraSettings
from app.settings.connections import check_security
from app.settings.environment import ENVIRONMENT, SECRETS, from_environment
from app.settings.paths import DEMO_CAMERAS, DEMO_RULES, find_file, where_looked
from app.settings.rule_lists import RuleListSource
from app.settings.settings import Settings

_SECTIONS = frozenset(
    {
        *("cameras", "rules", "tls", "kafka", "detector", "spool", "publisher", "tracking", "evidence", "privacy"),
        "token",
    }
)


def load_settings(
    environment: Mapping[str, str], file: Path | None = None, camera: Mapping[str, Any] | None = None
) -> Settings:
    """Return all settings, resolved: the environment overrides the file, which overrides the defaults.

    Args:
        environment: the variables of the process, as ``process_environment`` returns them.
        file: a YAML file with the structure of :class:`Settings`; ``None``: the defaults.
        camera: the only camera, by the options of a command; ``None``: the cameras of environment and file.

    Raises:
        SettingsError: a setting is wrong; one line with the key, the value and what is allowed.
    """
    values = _values(environment, file)
    cameras_value = values.pop("cameras", DEMO_CAMERAS)
    rules_value = values.pop("rules", DEMO_RULES)
    settings = _validate(values)
    check_security(settings.kafka, settings.tls)
    if camera is None:
        cameras = _camera_list_source(cameras_value).read(environment).entries
    else:
        cameras = (camera_by_options(camera, environment),)
    filled = tuple(one.with_fps(settings.inference_fps) for one in cameras)
    _check_privacy(settings, filled)
    rules = () if camera is not None else _rule_list_source(rules_value).read().entries
    return settings.model_copy(update={"cameras": filled, "rules": rules})


def camera_list_source(environment: Mapping[str, str], file: Path | None = None) -> CameraListSource:
    """Return where the cameras are configured.

    Raises:
        SettingsError: the settings cannot be read.
    """
    return _camera_list_source(_values(environment, file).get("cameras", DEMO_CAMERAS))


def rule_list_source(environment: Mapping[str, str], file: Path | None = None) -> RuleListSource:
    """Return where the rules are configured.

    Raises:
        SettingsError: the settings cannot be read.
    """
    return _rule_list_source(_values(environment, file).get("rules", DEMO_RULES))


def file_or_inline_list(text: str) -> CameraListSource:
    """Return the source that a text names: a cameras file by its suffix, else ``id=url,id=url``."""
    if text.endswith((".yaml", ".yml")):
        return CameraListSource(file=find_file(text).absolute())
    return CameraListSource(inline=text)


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


def _check_privacy(settings: Settings, cameras: Sequence[CameraSettings]) -> None:
    """Check that what is to be pixelated is detected at all: what is not found cannot be hidden."""
    for camera in cameras:
        unseen = settings.privacy.unseen(camera.wanted, settings.detector.classes)
        if unseen:
            leaves = f"the classes of camera {camera.id}" if camera.classes else "detector.classes (DETECTOR_CLASSES)"
            raise SettingsError(
                f"privacy.anonymise: {unseen[0]!r} is left out by {leaves}, so that it would not be found and not be "
                "hidden; allowed are labels that are detected"
            )


def _explain(error: ValidationError, values: dict[str, Any]) -> str:
    invalid = InvalidValue.first_of(error)
    loc = invalid.location
    known = [name for name, path in ENVIRONMENT.items() if path == loc[: len(path)]]
    key = ".".join(loc[: len(ENVIRONMENT[known[0]])]) if known else ".".join(loc)
    if invalid.kind == "extra_forbidden":
        return f"{key} is not a setting; configs/sightline.yaml lists all settings"
    value = _look_up(values, key)
    # A whole section may hold a secret, and so may an address with an account: only single values are shown, and no
    # secrets.
    hidden = set(known) & SECRETS or not _is_single(loc, value) or "@" in str(value)
    shown = "" if hidden else repr(value)
    return invalid.line(f"{key} ({known[0]})" if known else key, shown)


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


def _camera_list_source(value: object) -> CameraListSource:
    if not isinstance(value, str):
        kind = type(value).__name__
        raise SettingsError(
            f"cameras (SIGHTLINE_CAMERAS): a {kind}; allowed are a cameras file's path and id=url,id=url"
        )
    source = file_or_inline_list(value)
    if source.file is not None and not source.file.is_file():
        looked = where_looked(value)
        raise SettingsError(
            f"SIGHTLINE_CAMERAS: {value!r} does not exist; give a cameras file or id=url,id=url{looked}"
        )
    return source


def _rule_list_source(value: object) -> RuleListSource:
    if not isinstance(value, str):
        raise SettingsError(f"rules (SIGHTLINE_RULES): a {type(value).__name__}; allowed is a rules file's path")
    source = RuleListSource(file=find_file(value).absolute())
    if source.file is not None and not source.file.is_file():
        raise SettingsError(f"SIGHTLINE_RULES: {value!r} does not exist; give a rules file{where_looked(value)}")
    return source
