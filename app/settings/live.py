"""What may be changed while the system runs, by ``user_config`` in ``serve_config.yaml`` and ``serve deploy``.

A key given here wins over the settings file, and the environment wins over it, as over any file (contract, section 1).
A key left out, or taken out again, leaves what the others say.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from app.errors import SettingsError
from app.settings.camera_lists import CamerasGiven
from app.settings.connections import Frozen, commas
from app.settings.loading import cameras_file_or_list
from app.settings.settings import MOST_BUDGET_MS

T = TypeVar("T", bound=Frozen)


class LiveDetector(Frozen):
    """The ``user_config`` of ``ObjectDetector``: which model, and what of its output is kept."""

    model: Annotated[str, Field(min_length=1)] | None = None
    model_sha256: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{64}$")] | None = None
    """Of ``model``; asked for where the settings pin theirs."""
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    iou: Annotated[float, Field(ge=0, le=1)] | None = None
    classes: Annotated[tuple[str, ...] | None, BeforeValidator(commas)] = None
    """Labels to keep, a list or a comma list; empty: all."""

    @model_validator(mode="after")
    def _whole(self) -> LiveDetector:
        if self.model_sha256 is not None and self.model is None:
            raise ValueError("model_sha256 stands beside the model that it pins")
        return self

    def without_effect(self, fixed: Collection[str]) -> list[str]:
        """Give the fields that stand here in vain, because the environment has set them."""
        return [name for name in type(self).model_fields if name in fixed and getattr(self, name) is not None]


LIVE: dict[str, type[Frozen]] = {"ObjectDetector": LiveDetector}
"""Whose ``user_config`` is looked at before anything starts."""


def parse_live(kind: type[T], user_config: object) -> T:
    """Read a ``user_config``; none is an empty one.

    Raises:
        SettingsError: a key or a value is wrong; one line.
    """
    values: Any = {} if user_config is None else user_config
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        key = ".".join(["user_config", *(str(part) for part in first["loc"][:1])])
        allowed = ", ".join(kind.model_fields)
        if first["type"] == "extra_forbidden":
            raise SettingsError(f"{key} cannot be changed while it runs; allowed are {allowed}") from None
        if not first["loc"] and isinstance(values, dict):
            raise SettingsError(f"user_config: {first['msg'].removeprefix('Value error, ')}") from None
        if not first["loc"]:
            raise SettingsError(
                f"user_config is a {type(values).__name__}; allowed is a mapping of {allowed}"
            ) from None
        message = first["msg"].removeprefix("Value error, ")
        shown = values.get(first["loc"][0]) if isinstance(values, dict) else values
        raise SettingsError(f"{key}: {shown!r}: {message[0].lower()}{message[1:]}") from None


def check_user_configs(config: dict[str, Any]) -> None:
    """Look at every ``user_config`` of a Serve configuration, before anything starts.

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


def given_by(user_config: object, usual: CamerasGiven, *, by_environment: bool) -> CamerasGiven:
    """Tell where the cameras are written.

    Args:
        user_config: a mapping that may have the key ``cameras``: the path of a cameras file, ``id=url,id=url``, or a
            list as such a file holds it.
        usual: where they are written otherwise.
        by_environment: whether that is ``SIGHTLINE_CAMERAS``, which wins.

    Raises:
        SettingsError: it is something else.
    """
    if not isinstance(user_config, dict | None) or set(user_config or {}) - {"cameras", "latency_budget_ms"}:
        raise SettingsError("CameraManager's user_config: allowed is a mapping of cameras and latency_budget_ms")
    wanted = (user_config or {}).get("cameras")
    if wanted is None or by_environment:
        return usual
    if isinstance(wanted, str):
        return cameras_file_or_list(wanted)
    if isinstance(wanted, list):
        return CamerasGiven(entries=tuple(wanted))
    raise SettingsError(
        f"CameraManager's user_config.cameras: a {type(wanted).__name__}; allowed are a cameras file's path, "
        "id=url,id=url, and a list of cameras"
    )


def budget_by(user_config: object, usual_ms: int, *, by_environment: bool) -> int:
    """Tell the latency budget of every frame, in milliseconds.

    Args:
        user_config: a mapping that may have the key ``latency_budget_ms``.
        usual_ms: the budget otherwise.
        by_environment: whether that is ``SIGHTLINE_LATENCY_BUDGET_MS``, which wins.

    Raises:
        SettingsError: it is something else.
    """
    wanted = user_config.get("latency_budget_ms") if isinstance(user_config, dict) else None
    if wanted is None or by_environment:
        return usual_ms
    if not isinstance(wanted, int) or isinstance(wanted, bool) or not 1 <= wanted <= MOST_BUDGET_MS:
        raise SettingsError(
            f"CameraManager's user_config.latency_budget_ms: {wanted!r}; allowed are 1 to {MOST_BUDGET_MS}"
        )
    return wanted
