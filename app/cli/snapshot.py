"""``sightline snapshot``: the newest frame of a running camera with its boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import CONFIG, Config, Json, api_client


def snapshot(
    camera: Annotated[str, typer.Argument(help="Which camera.")],
    out_file: Annotated[Path, typer.Option("--out", help="Where the picture goes (.jpg or .png).")],
    json: Json = False,
    config: Config = CONFIG,
) -> None:
    """Write the newest frame of a running camera with its boxes."""
    from app.cli.snapshot_file import write_snapshot

    saved = write_snapshot(api_client(config), camera, out_file)
    print(saved.as_json() if json else saved.as_line())
