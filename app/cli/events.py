"""``sightline events``: follows the topic."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.console import CONFIG, Config, Json, resolve_settings


def events(
    camera: Annotated[str | None, typer.Option(help="Only this camera's.")] = None,
    from_beginning: Annotated[bool, typer.Option(help="Start with the oldest event kept.")] = False,
    count: Annotated[int | None, typer.Option(help="Stop after so many.", min=1)] = None,
    json: Json = False,
    config: Config = CONFIG,
) -> None:
    """Follow the topic: camera, labels and latency of each event."""
    from app.cli.event_lines import follow

    settings = resolve_settings(config)
    for line in follow(settings, camera=camera, from_beginning=from_beginning, count=count, raw=json):
        print(line, flush=True)
