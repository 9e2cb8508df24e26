"""What may be changed while the system runs, by ``user_config`` in ``serve_config.yaml`` and ``serve deploy``.

A key given here wins over the settings file, and the environment wins over it, as over any file (contract, section 1).
A key left out, or taken out again, leaves what the others say.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from app.connection_settings import Frozen, commas
from app.detection.options import DetectorOptions
from app.errors import SettingsError

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

    def over(self, options: DetectorOptions, fixed: Collection[str] = ()) -> DetectorOptions:
        """Give the options that hold.

        Args:
            options: what the settings say.
            fixed: those fields that the environment has set.

        Raises:
            SettingsError: the settings pin their model, and another one is named without a pin.
        """
        given = {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}
        chosen = {name: value for name, value in given.items() if name not in fixed}
        if "model" not in chosen:
            chosen.pop("model_sha256", None)
        elif options.model_sha256 is not None and self.model_sha256 is None:
            raise SettingsError("user_config.model: the settings pin their model; allowed is one with model_sha256")
        return replace(options, **chosen)

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
