"""``sightline export``: writes the model in a form that is faster on the CPU."""

from __future__ import annotations

import contextlib
import json as JSON  # noqa: N812  # an option is called json
from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import CONFIG, Config, Json, err, out, resolve_settings
from app.detection.models.exports import KINDS
from app.errors import SettingsError


def export(
    kind: Annotated[str, typer.Option("--format", help="openvino (the faster) or onnx.")] = "openvino",
    model: Annotated[str | None, typer.Option(help="A .pt; the configured model where none is named.")] = None,
    json: Json = False,
    config: Config = CONFIG,
) -> None:
    """Write the model in a form that is faster on the CPU, beside its .pt, where it is used from then on."""
    weights = model or resolve_settings(config).detector.model
    if kind not in KINDS:
        raise SettingsError(f"--format: {kind!r} is unknown; allowed are {' and '.join(KINDS)}")
    from app.detection.models.exporter import export as write_export  # here: it loads torch

    with err.status(f"exporting {Path(weights).name} to {kind}") if err.is_terminal else contextlib.nullcontext():
        path = write_export(weights, kind)
    out.print(JSON.dumps({"format": kind, "path": str(path)}) if json else str(path), markup=False)
