"""The Serve configuration file: the ports, settings file and addresses in it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from app.core.one_line import one_line
from app.core.read_failure import read_failure
from app.errors import SettingsError
from app.scaling import ScalingNumbers
from app.settings.live import check_user_configs
from app.settings.loading import load_settings
from app.settings.paths import find_file
from app.settings.settings import Settings


def read_serve_config(path: Path) -> dict[str, Any]:
    """Return a Serve configuration, its structure checked.

    Raises:
        SettingsError: it cannot be read, or has no applications.
    """
    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"Serve configuration {str(path)!r} cannot be read: {read_failure(error)}") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"Serve configuration {str(path)!r} is not YAML: {one_line(error)}") from None
    applications = config.get("applications") if isinstance(config, dict) else None
    if not isinstance(applications, list) or not applications:
        raise SettingsError(f"Serve configuration {str(path)!r} has no list of applications")
    for application in applications:
        arguments = (application.get("args") or {}) if isinstance(application, dict) else None
        settings = arguments.get("settings") if isinstance(arguments, dict) else 0
        if not isinstance(settings, (str, type(None))):
            raise SettingsError(
                f"Serve configuration {str(path)!r}: each application is a mapping, with args.settings a path"
            )
    for options in ("grpc_options", "http_options"):
        if not isinstance(config.get(options) or {}, dict):
            raise SettingsError(f"Serve configuration {str(path)!r}: {options} must be a mapping")
    return dict(config)


@dataclass(frozen=True)
class ServePorts:
    """Ports on which Serve listens on this machine."""

    grpc: int
    http: int


def ports_of(config: Mapping[str, Any]) -> ServePorts:
    """Return the ports of a Serve configuration; Serve's defaults where it names none.

    Raises:
        SettingsError: one of them is not a port.
    """
    found = {}
    for options, default in (("grpc_options", 9000), ("http_options", 8000)):
        port = (config.get(options) or {}).get("port", default)
        if not isinstance(port, int) or not 0 < port < 65536:
            raise SettingsError(f"{options}.port: {port!r} is not a port; allowed are 1 to 65535")
        found[options] = port
    return ServePorts(grpc=found["grpc_options"], http=found["http_options"])


def settings_of(config: dict[str, Any], environment: Mapping[str, str]) -> Settings:
    """Return the settings, resolved as the applications of a Serve configuration will.

    Raises:
        SettingsError: one of them is wrong, or the applications name different settings files.
    """
    files = {(app.get("args") or {}).get("settings") for app in config["applications"]}
    if len(files) > 1:
        names = ", ".join(sorted(map(str, files)))
        raise SettingsError(f"the applications name different settings files ({names}); allowed is one for all")
    (file,) = files
    check_user_configs(config)
    for application in config["applications"]:
        if (numbers := (application.get("args") or {}).get("scaling")) is not None:
            ScalingNumbers.parse(numbers)
    return load_settings(environment, Path(file) if file else None)


def listening_on(config: Mapping[str, Any], host: str | None) -> dict[str, Any]:
    """Return a Serve configuration whose HTTP and gRPC are bound to ``host``; ``None``: as the configuration says.

    Raises:
        SettingsError: ``host`` is not an IP address.
    """
    if host is None:
        return dict(config)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise SettingsError(
            f"--listen: {host!r} is not an address; allowed are an IP address of this machine and 0.0.0.0 for all"
        ) from None
    return {**config, "http_options": {**(config.get("http_options") or {}), "host": host}}


def find_serve_config(given: str) -> Path:
    """Return the path of the Serve configuration: as given, else the one that comes with Sightline.

    Raises:
        SettingsError: it is in neither place.
    """
    path = find_file(given)
    if not path.is_file():
        raise SettingsError(f"--config: {given!r} does not exist; 'sightline init' writes one")
    return path
