"""Handing this shell's settings on to a Ray cluster that runs already, without showing its secrets there.

The variables of an application's ``runtime_env`` stand in Ray's dashboard and logs. So secrets, and cameras (their
addresses may hold passwords), go by way of files that only their owner can read. Such a cluster must see this machine's
files: it runs here, or shares them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from app.settings.cameras import CameraSettings
from app.settings.environment import ENVIRONMENT, SECRETS
from app.settings.paths import find_file
from app.settings.source_url import SourceKind

CAMERAS = "SIGHTLINE_CAMERAS"
_PATHS = frozenset(name for name in ENVIRONMENT if name.endswith(("FILE", "_DIR"))) | {"DETECTOR_MODEL"}
"""Variables that name files, which another working directory would not find."""


def with_environment(
    config: Mapping[str, Any], environment: Mapping[str, str], cameras: Sequence[CameraSettings], folder: Path
) -> dict[str, Any]:
    """Give a Serve configuration with this shell's settings as each application's ``runtime_env.env_vars``.

    Args:
        config: the configuration as the user wrote it.
        environment: this shell's variables.
        cameras: the cameras as resolved here; what their ``${VARIABLES}`` stood for is known only here.
        folder: a private folder for what must not be shown; it must outlive the applications' start.
    """
    # Serve's own gRPC between replicas is not to take the proxy of the cluster's environment; see ``app/cli/up.py``.
    ours = _plain(environment) | _secrets(environment, folder) | {"grpc_proxy": ""}
    ours[CAMERAS] = str(_private(folder / "cameras.yaml", yaml.safe_dump({"cameras": [_written(c) for c in cameras]})))
    applications = []
    for application in config["applications"]:
        runtime_env = dict(application.get("runtime_env") or {})
        runtime_env["env_vars"] = {**(runtime_env.get("env_vars") or {}), **ours}
        arguments = dict(application.get("args") or {})
        if arguments.get("settings"):
            arguments["settings"] = str(find_file(arguments["settings"]).absolute())
        applications.append({**application, "runtime_env": runtime_env, "args": arguments})
    return {**config, "applications": applications}


def _plain(environment: Mapping[str, str]) -> dict[str, str]:
    names = [name for name in ENVIRONMENT if name not in SECRETS and name != CAMERAS]
    return {name: _absolute(name, environment[name]) for name in names if environment.get(name)}


def _secrets(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    handed = {}
    for name in sorted(SECRETS):
        file = environment.get(f"{name}_FILE")
        if file:
            handed[f"{name}_FILE"] = str(Path(file).absolute())
        elif environment.get(name):
            handed[f"{name}_FILE"] = str(_private(folder / name, environment[name]))
    return handed


def _absolute(name: str, value: str) -> str:
    if name.endswith("_DIR"):  # it need not be there yet
        return str(Path(value).expanduser().absolute())
    found = find_file(value) if name in _PATHS else None
    return str(found.absolute()) if found is not None and found.exists() else value


def _written(camera: CameraSettings) -> dict[str, Any]:
    fields = camera.model_dump(mode="python", exclude={"url"}, exclude_none=True)
    url = camera.url
    text = str(Path(url.path).absolute()) if url.kind is SourceKind.FILE else url.written()
    if url.kind is SourceKind.FILE and not url.loop:
        text += "?loop=false"
    # What it holds was resolved already: a dollar is a dollar.
    return {**fields, "resources": dict(camera.resources), "url": text.replace("${", "$${")}


def _private(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path
