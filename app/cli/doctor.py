"""``sightline doctor``: checks before a start."""

from __future__ import annotations

import typer

from app.cli.console import CONFIG, FAILED, Config, Json, out, resolve_settings
from app.cli.up import find_the_model
from app.settings.environment import process_environment
from app.settings.serve_config import find_serve_config, ports_of, read_serve_config


def doctor(json: Json = False, config: Config = CONFIG) -> None:
    """Check model, Kafka, cameras, GPU and ports before a start, and say how to fix what fails."""
    settings = resolve_settings(config)
    if settings.detector.model_sha256 is not None:  # before the model is loaded
        find_the_model(settings, process_environment())
    ports = ports_of(read_serve_config(find_serve_config(config)))
    from app.cli.checks import State, check_system  # here: it loads torch, and a mistake is reported before

    passed = True
    for finding in check_system(settings, ports):
        passed = passed and finding.state is not State.FAILED
        out.print(finding.as_json() if json else finding.as_line(), markup=not json)
    raise typer.Exit(0 if passed else FAILED)
