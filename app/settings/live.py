"""What may be changed while the system runs, by ``user_config`` in ``serve_config.yaml`` and ``serve deploy``.

A key given here overrides the settings file, and the environment overrides it, as any file
(``configs/README.md``, "Settings").
A key left out, or removed again, leaves the setting as file and environment have it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from app.core.validation import InvalidValue
from app.errors import SettingsError
from app.settings.camera_lists import CameraListSource
from app.settings.connections import Frozen, commas
from app.settings.loading import file_or_inline_list
from app.settings.paths import find_file
from app.settings.rule_lists import RuleListSource
from app.settings.settings import MAX_BUDGET_MS

T = TypeVar("T", bound=Frozen)


class LiveDetector(Frozen):
    """The ``user_config`` of ``ObjectDetector``: which model, and which of its detections are kept."""

    model: Annotated[str, Field(min_length=1)] | None = None
    model_sha256: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{64}$")] | None = None
    """SHA-256 of ``model``; required where the settings pin their model."""
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    iou: Annotated[float, Field(ge=0, le=1)] | None = None
    classes: Annotated[tuple[str, ...] | None, BeforeValidator(commas)] = None
    """Labels to keep, as a list or comma-separated; empty: all."""

    @model_validator(mode="after")
    def _pin_has_its_model(self) -> LiveDetector:
        if self.model_sha256 is not None and self.model is None:
            raise ValueError("model_sha256 needs the model that it pins")
        return self

    def without_effect(self, fixed: Collection[str]) -> list[str]:
        """Return the fields that have no effect, because the environment has set them (``fixed``)."""
        return [name for name in type(self).model_fields if name in fixed and getattr(self, name) is not None]


LIVE: dict[str, type[Frozen]] = {"ObjectDetector": LiveDetector}
"""Deployment → the model of its ``user_config``, which is validated before anything starts."""


def parse_live(kind: type[T], user_config: object) -> T:
    """Parse a ``user_config``; ``None`` is an empty one.

    Raises:
        SettingsError: a key or a value is wrong; one line.
    """
    values: Any = {} if user_config is None else user_config
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        invalid = InvalidValue.first_of(error)
        allowed = ", ".join(kind.model_fields)
        if not isinstance(values, dict):
            raise SettingsError(
                f"user_config is a {type(values).__name__}; allowed is a mapping of {allowed}"
            ) from None
        if not invalid.location:
            raise SettingsError(invalid.line("user_config")) from None
        name = invalid.location[0]
        if invalid.kind == "extra_forbidden":
            raise SettingsError(f"user_config.{name} cannot be changed while it runs; allowed are {allowed}") from None
        raise SettingsError(invalid.line(f"user_config.{name}", repr(values.get(name)))) from None


def check_user_configs(config: dict[str, Any]) -> None:
    """Validate every ``user_config`` of a Serve configuration, before anything starts.

    Raises:
        SettingsError: one is wrong.
    """
    for application in config["applications"]:
        for deployment in application.get("deployments") or ():
            kind = LIVE.get(str(deployment.get("name"))) if isinstance(deployment, dict) else None
            if kind is None:
                continue
            try:
                parse_live(kind, deployment.get("user_config"))
            except SettingsError as error:
                raise SettingsError(f"{deployment['name']}: {error}") from None


def configured_camera_list(user_config: object, default: CameraListSource, *, by_environment: bool) -> CameraListSource:
    """Return where the cameras are configured.

    Args:
        user_config: a mapping that may have the key ``cameras``: the path of a cameras file, ``id=url,id=url``, or a
            list as such a file holds it.
        default: where they are configured without that key.
        by_environment: whether ``default`` is ``SIGHTLINE_CAMERAS``, which overrides ``user_config``.

    Raises:
        SettingsError: ``user_config`` has another structure.
    """
    if not isinstance(user_config, dict | None) or set(user_config or {}) - {"cameras", "rules", "latency_budget_ms"}:
        raise SettingsError("CameraManager's user_config: allowed is a mapping of cameras, rules and latency_budget_ms")
    value = (user_config or {}).get("cameras")
    if value is None or by_environment:
        return default
    if isinstance(value, str):
        return file_or_inline_list(value)
    if isinstance(value, list):
        return CameraListSource(entries=tuple(value))
    raise SettingsError(
        f"CameraManager's user_config.cameras: a {type(value).__name__}; allowed are a cameras file's path, "
        "id=url,id=url, and a list of cameras"
    )


def configured_rule_list(user_config: object, default: RuleListSource, *, by_environment: bool) -> RuleListSource:
    """Return where the rules are configured.

    Args:
        user_config: a mapping that may have the key ``rules``: the path of a rules file, or a list as such a file holds
            it.
        default: where they are configured without that key.
        by_environment: whether ``default`` is ``SIGHTLINE_RULES``, which overrides ``user_config``.

    Raises:
        SettingsError: ``user_config`` has another structure.
    """
    value = user_config.get("rules") if isinstance(user_config, dict) else None
    if value is None or by_environment:
        return default
    if isinstance(value, str):
        return RuleListSource(file=find_file(value).absolute())
    if isinstance(value, list):
        return RuleListSource(entries=tuple(value))
    raise SettingsError(
        f"CameraManager's user_config.rules: a {type(value).__name__}; allowed are a rules file's path and a list of "
        "rules"
    )


def configured_budget_ms(user_config: object, default_ms: int, *, by_environment: bool) -> int:
    """Return the latency budget of every frame, in milliseconds.

    Args:
        user_config: a mapping that may have the key ``latency_budget_ms``.
        default_ms: the budget without that key.
        by_environment: whether ``default_ms`` is ``SIGHTLINE_LATENCY_BUDGET_MS``, which overrides ``user_config``.

    Raises:
        SettingsError: ``user_config`` has another structure.
    """
    value = user_config.get("latency_budget_ms") if isinstance(user_config, dict) else None
    if value is None or by_environment:
        return default_ms
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_BUDGET_MS:
        raise SettingsError(
            f"CameraManager's user_config.latency_budget_ms: {value!r}; allowed are 1 to {MAX_BUDGET_MS}"
        )
    return value
