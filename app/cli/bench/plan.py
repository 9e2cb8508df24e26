"""BenchPlan: the load of a bench, and the configuration files of its system."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from app.errors import SettingsError
from app.settings.cameras import CAMERA_ID
from app.settings.environment import ENVIRONMENT, SECRETS
from app.settings.paths import find_file

KINDS = ("model", "no-op")
"""Detectors: the configured model, or one that detects nothing and costs nothing."""
MAX_CAMERAS = 1000
_WITHOUT_MODEL = "deployments.graph:build_inference_without_model"
_KEPT = ("DETECTOR_", "SIGHTLINE_LATENCY_BUDGET_MS")
"""Prefixes of the variables that apply to a bench's system too; the others would point it at the real system."""


@dataclass(frozen=True)
class BenchPlan:
    """A load.

    Raises:
        SettingsError: a value is out of range; the text names the option, the value and what is allowed.
    """

    cameras: int = 4
    fps: float = 5.0
    """Frames sampled per second, each camera."""
    seconds: float = 30.0
    """How long the load is measured."""
    warm_up_s: float = 10.0
    """How long the load runs before that."""
    detector: str = "model"
    """``model`` or ``no-op``."""
    width: int = 1280
    """Pixels of each simulated camera."""
    height: int = 720
    recording: Path | None = None
    """A video file that every camera plays; ``None``: simulated streets, each with its own seed."""
    detector_cpus: float | None = None
    """CPU cores of a detector replica; ``None``: as the Serve configuration says."""
    max_replicas: int | None = None
    """Of the detector; ``None``: as the Serve configuration says."""

    def __post_init__(self) -> None:
        _check("--cameras", self.cameras, 1, MAX_CAMERAS)
        _check("--fps", self.fps, 0.1, 240)
        _check("--seconds", self.seconds, 1, 86_400)
        _check("--warm-up", self.warm_up_s, 0, 3_600)
        _check("width of --size", self.width, 160, 3840)
        _check("height of --size", self.height, 120, 2160)
        if self.detector not in KINDS:
            raise SettingsError(f"--detector: {self.detector!r} is unknown; allowed are {' and '.join(KINDS)}")
        if self.recording is not None and not self.recording.is_file():
            raise SettingsError(f"--recording: {str(self.recording)!r} is not a file")

    @property
    def camera_ids(self) -> tuple[str, ...]:
        """The cameras' ids."""
        names = tuple(f"bench-{number}" for number in range(1, self.cameras + 1))
        assert all(CAMERA_ID.fullmatch(name) for name in names)
        return names

    @property
    def description(self) -> str:
        """The load in words."""
        source = self.recording.name if self.recording else f"simulated, {self.width}x{self.height}"
        return f"{self.cameras} cameras × {self.fps:g} FPS ({source}), {self.detector}, {self.seconds:g} s"

    def url(self, number: int) -> str:
        """Return the URL of camera ``number``, from 1."""
        if self.recording is not None:
            return str(self.recording.absolute())
        scene_fps = max(25.0, self.fps)
        return f"synthetic://street?seed={number}&fps={scene_fps:g}&width={self.width}&height={self.height}"


@dataclass(frozen=True)
class BenchPaths:
    """Ports and files of a bench's system."""

    folder: Path
    """A temporary folder of its own."""
    grpc_port: int
    http_port: int

    @property
    def serve_config(self) -> Path:
        """The Serve configuration."""
        return self.folder / "serve_config.yaml"

    @property
    def settings(self) -> Path:
        """The settings file."""
        return self.folder / "sightline.yaml"


def write_files(plan: BenchPlan, config: Mapping[str, Any], paths: BenchPaths) -> None:
    """Write the Serve configuration, settings and cameras of a bench's system.

    Args:
        plan: the load.
        config: the user's Serve configuration, whose scaling numbers are kept.
        paths: where they are written.
    """
    base = _settings_of(config)
    cameras = [
        {"id": name, "url": plan.url(number), "fps": plan.fps} for number, name in enumerate(plan.camera_ids, start=1)
    ]
    cameras_file = paths.folder / "cameras.yaml"
    cameras_file.write_text(yaml.safe_dump({"cameras": cameras}))
    settings = {key: value for key, value in base.items() if key in ("latency_budget_ms", "detector")}
    settings |= {
        "inference_service_url": f"127.0.0.1:{paths.grpc_port}",
        "cameras": str(cameras_file),
        "spool": {**(base.get("spool") or {}), "dir": str(paths.folder / "spool")},
        "state_dir": str(paths.folder),
    }
    paths.settings.write_text(yaml.safe_dump(settings))
    paths.serve_config.write_text(yaml.safe_dump(_serve_config(plan, config, paths), sort_keys=False))


def _settings_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the user's settings file; it was validated when the settings were resolved."""
    named = (config["applications"][0].get("args") or {}).get("settings")
    return (yaml.safe_load(find_file(named).read_text()) or {}) if named else {}


def _serve_config(plan: BenchPlan, config: Mapping[str, Any], paths: BenchPaths) -> Mapping[str, Any]:
    changed = copy.deepcopy(dict(config))
    changed["http_options"] = {**(config.get("http_options") or {}), "host": "127.0.0.1", "port": paths.http_port}
    changed["grpc_options"] = {**(config.get("grpc_options") or {}), "port": paths.grpc_port}
    for application in changed["applications"]:
        arguments = application["args"] = {**(application.get("args") or {}), "settings": str(paths.settings)}
        if application["name"] != "inference":
            for deployment in application.get("deployments") or []:
                deployment.pop("user_config", None)  # it may name the real system's cameras
            continue
        if plan.detector == "no-op":
            application["import_path"] = _WITHOUT_MODEL
        if plan.detector_cpus is not None:
            arguments["detector_cpus"] = plan.detector_cpus
        for deployment in application.get("deployments") or []:
            if deployment["name"] == "ObjectDetector" and plan.max_replicas is not None:
                deployment["autoscaling_config"]["max_replicas"] = plan.max_replicas
    return changed


def bench_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return a shell's variables without those that configure the real system."""
    settings = {*ENVIRONMENT, *(f"{name}_FILE" for name in SECRETS), "SIGHTLINE_CAMERAS"}
    return {
        name: value
        for name, value in environment.items()
        if (name not in settings or name.startswith(_KEPT)) and name != "RAY_ADDRESS"
    }


def size_of(text: str) -> tuple[int, int]:
    """Parse ``WIDTHxHEIGHT``.

    Raises:
        SettingsError: the text has another form.
    """
    width, by, height = text.partition("x")
    if not (by and width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
        raise SettingsError(f"--size: {text!r} is not a size; allowed is WIDTHxHEIGHT, such as 1280x720")
    return int(width), int(height)


def _check(option: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise SettingsError(f"{option}: {value!r}; allowed is {low:g} to {high:g}")
