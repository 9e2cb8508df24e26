"""``sightline camera``: one camera on this machine, without Ray."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.console import Json
from app.settings.environment import process_environment


def camera(
    camera_id: Annotated[str, typer.Option("--id", help="The camera's id; unique in the system.")],
    url: Annotated[str, typer.Option(help="Its source; ${NAME} is read from the environment: a password, say.")],
    service: Annotated[
        str | None, typer.Option(help="host:port, or grpcs://host:port; else INFERENCE_SERVICE_URL.")
    ] = None,
    fps: Annotated[str | None, typer.Option(help="Frames sampled per second; else INFERENCE_FPS.")] = None,
    max_side: Annotated[str | None, typer.Option(help="Longest side, in pixels, of what is sent.")] = None,
    jpeg_quality: Annotated[str | None, typer.Option(help="1 to 100.")] = None,
    stall_s: Annotated[str | None, typer.Option(help="Silence that counts as a stall, in seconds; else 5.")] = None,
    decode: Annotated[str | None, typer.Option(help="auto, cuda, qsv or drm: hardware that decodes; else cpu.")] = None,
    mask: Annotated[
        list[str] | None, typer.Option(help="A polygon painted black, as 'x,y x,y x,y' from 0 to 1; may be repeated.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model that detects in its frames; there is 'default'.")] = None,
    confidence: Annotated[str | None, typer.Option(help="Lower scores are left out; else the service's own.")] = None,
    classes: Annotated[str | None, typer.Option(help="Comma list of labels to keep; else the service's own.")] = None,
    tracking: Annotated[bool, typer.Option(help="Whether its objects get track ids.")] = True,
    metrics_host: Annotated[str, typer.Option(help="Where /metrics is offered; 0.0.0.0: to every host.")] = "127.0.0.1",
    metrics_port: Annotated[int, typer.Option(help="Its port; 0: any that is free.", min=0, max=65535)] = 9464,
    json: Json = False,
) -> None:
    """Run one camera on this machine, without Ray, for a service elsewhere; Ctrl-C ends it and shows its ledger."""
    from app.cameras import edge

    options = {
        "id": camera_id,
        "url": url,
        "fps": fps,
        "max_side": max_side,
        "jpeg_quality": jpeg_quality,
        "stall_s": stall_s,
        "decode": decode,
        "masks": mask,
        "model": model,
        "confidence": confidence,
        "classes": classes,
        "tracking": tracking,
    }
    environment = process_environment()
    if service:
        environment = {**environment, "INFERENCE_SERVICE_URL": service}
    edge.log_to_stderr()
    last_status = edge.run(options, edge.Page(metrics_host, metrics_port), environment)
    print(edge.ledger_json(last_status) if json else edge.ledger_line(last_status))
