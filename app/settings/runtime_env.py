"""Pass this shell's settings to a Ray cluster that runs already, without showing its secrets there.

The variables of an application's ``runtime_env`` are shown in Ray's dashboard and logs. So secrets, and cameras (their
addresses may hold passwords), are passed in files that only their owner can read. Such a cluster must see this
machine's files: it runs here, or shares them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from app.settings.cameras import CameraSettings
from app.settings.environment import ENVIRONMENT, SECRETS
from app.settings.loading import rule_list_source
from app.settings.paths import BUNDLED, find_file
from app.settings.source_url import SourceKind

CAMERAS, RULES = "SIGHTLINE_CAMERAS", "SIGHTLINE_RULES"
_PATHS = frozenset(name for name in ENVIRONMENT if name.endswith(("FILE", "_DIR"))) | {
    "DETECTOR_MODEL",
    "SIGHTLINE_RULES",
}
"""Variables that name files: a relative path is not found from another working directory."""


def with_environment(
    config: Mapping[str, Any], environment: Mapping[str, str], cameras: Sequence[CameraSettings], folder: Path
) -> dict[str, Any]:
    """Return a Serve configuration with this shell's settings in each application's ``runtime_env.env_vars``.

    Args:
        config: the user's configuration.
        environment: this shell's variables.
        cameras: the cameras, resolved; the values of their ``${VARIABLES}`` are known only here.
        folder: a private folder for the files with secrets; it must exist until the applications have started.
    """
    # Serve's own gRPC between replicas is not to take the proxy of the cluster's environment; see ``app/cli/up.py``.
    variables = _plain(environment) | _secrets(environment, folder) | {"grpc_proxy": ""}
    variables[CAMERAS] = str(
        _private_file(folder / "cameras.yaml", yaml.safe_dump({"cameras": [_camera_entry(c) for c in cameras]}))
    )
    variables |= _rules(config, environment)
    applications = []
    for application in config["applications"]:
        runtime_env = dict(application.get("runtime_env") or {})
        runtime_env["env_vars"] = {**(runtime_env.get("env_vars") or {}), **variables}
        arguments = dict(application.get("args") or {})
        if arguments.get("settings"):
            arguments["settings"] = str(find_file(arguments["settings"]).absolute())
        applications.append({**application, "runtime_env": runtime_env, "args": arguments})
    return {**config, "applications": applications}


def _plain(environment: Mapping[str, str]) -> dict[str, str]:
    names = [name for name in ENVIRONMENT if name not in SECRETS and name != CAMERAS]
    return {name: _absolute(name, environment[name]) for name in names if environment.get(name)}


def _rules(config: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variable that names the rules file, where it is found from this working directory alone."""
    settings = next(
        (app["args"]["settings"] for app in config["applications"] if "settings" in app.get("args", {})), None
    )
    file = rule_list_source(environment, Path(settings) if settings else None).file
    return {RULES: str(file)} if file is not None and not file.is_relative_to(BUNDLED) else {}


def _secrets(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    variables = {}
    for name in sorted(SECRETS):
        file = environment.get(f"{name}_FILE")
        if file:
            variables[f"{name}_FILE"] = str(Path(file).absolute())
        elif environment.get(name):
            variables[f"{name}_FILE"] = str(_private_file(folder / name, environment[name]))
    return variables


def _absolute(name: str, value: str) -> str:
    if name.endswith("_DIR"):  # it need not exist yet
        return str(Path(value).expanduser().absolute())
    found = find_file(value) if name in _PATHS else None
    return str(found.absolute()) if found is not None and found.exists() else value


def _camera_entry(camera: CameraSettings) -> dict[str, Any]:
    fields = camera.model_dump(mode="python", exclude={"url"}, exclude_none=True)
    url = camera.url
    text = str(Path(url.path).absolute()) if url.kind is SourceKind.FILE else url.written()
    if url.kind is SourceKind.FILE and not url.loop:
        text += "?loop=false"
    # The variables in it are resolved already: ${ is literal.
    return {**fields, "resources": dict(camera.resources), "url": text.replace("${", "$${")}


def _private_file(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path
