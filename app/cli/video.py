"""``sightline video``: some seconds of a running camera with its boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import CONFIG, Config, Json, api_client, progress


def video(
    camera: Annotated[str, typer.Argument(help="Which camera.")],
    out_file: Annotated[Path, typer.Option("--out", help="Where the film goes (.mp4).")],
    seconds: Annotated[float, typer.Option(help="How long.", min=1, max=3600)] = 10,
    json: Json = False,
    config: Config = CONFIG,
) -> None:
    """Write what a running camera shows for some seconds, with its boxes."""
    from app.cli.video_file import write_video

    client = api_client(config)
    with progress(f"recording {camera}", seconds) as set_done:
        saved = write_video(client, camera, out_file, seconds, set_done=set_done)
    print(saved.as_json() if json else saved.as_line())
