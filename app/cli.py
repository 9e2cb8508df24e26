"""The ``sightline`` command: one function a duty, each thin over the module that does it.

Exit status: 0 done, 1 it failed, 2 the call or the configuration is wrong. A user's mistake is one line.
"""

from __future__ import annotations

import contextlib
import json as JSON  # noqa: N812  # an option is called json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app import launch
from app.detection.exports import KINDS
from app.errors import SettingsError, SightlineError
from app.settings import Settings, process_environment

FAILED, MISUSED = 1, 2
"""Exit statuses."""

app = typer.Typer(
    name="sightline",
    help="Camera streams in, detection events out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Config = Annotated[str, typer.Option("--config", help="The Serve configuration of the system.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document a line, for programs.")]
CONFIG = "serve_config.yaml"
out, err = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command and exit with its status."""
    try:
        app()
    except SettingsError as error:
        err.print(f"sightline: {error}", markup=False)
        sys.exit(MISUSED)
    except SightlineError as error:
        err.print(f"sightline: {error}", markup=False)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(130)


def _settings(config: str) -> Settings:
    path = launch.find_serve_config(config)
    return launch.settings_of(launch.read_serve_config(path), process_environment())


@app.command()
def up(config: Config = CONFIG) -> None:
    """Start the whole system on this machine; Ctrl-C ends it."""
    settings = _settings(config)
    launch.find_the_model(settings, process_environment())
    broker = "the embedded broker" if settings.kafka.embedded else ", ".join(settings.kafka.bootstrap_servers)
    where = f"topic {settings.kafka.topic} on {broker}" if settings.kafka.enabled else "nowhere (Kafka is off)"
    out.print(
        f"Sightline: {len(settings.cameras)} cameras at {settings.inference_service_url.target}, events to {where}; "
        "follow them with 'sightline events'; the dashboard is http://127.0.0.1:8265 (its token: ray get-auth-token)",
        markup=False,
    )
    raise typer.Exit(launch.serve_run(launch.find_serve_config(config), settings, process_environment()))


@app.command()
def events(
    camera: Annotated[str | None, typer.Option(help="Only this camera's.")] = None,
    from_beginning: Annotated[bool, typer.Option(help="Start with the oldest event kept.")] = False,
    count: Annotated[int | None, typer.Option(help="Stop after so many.", min=1)] = None,
    json: Json = False,
    config: Config = CONFIG,
) -> None:
    """Follow the topic: camera, labels and latency of each event."""
    from app import following

    settings = _settings(config)
    for line in following.follow(settings, camera=camera, from_beginning=from_beginning, count=count, raw=json):
        print(line, flush=True)


@app.command()
def doctor(json: Json = False, config: Config = CONFIG) -> None:
    """Check model, Kafka, cameras, GPU and ports before a start, and say how to mend what fails."""
    from app import diagnosis

    settings = _settings(config)
    if settings.detector.model_sha256 is not None:  # before the model is loaded
        launch.find_the_model(settings, process_environment())
    ports = launch.ports_of(launch.read_serve_config(launch.find_serve_config(config)))
    sound = True
    for finding in diagnosis.examine(settings, ports):
        sound = sound and finding.state is not diagnosis.State.FAILED
        out.print(finding.as_json() if json else finding.as_line(), markup=not json)
    raise typer.Exit(0 if sound else FAILED)


@app.command()
def preview(
    out_file: Annotated[Path, typer.Option("--out", help="Where the picture goes (.jpg or .png).")],
    camera: Annotated[str | None, typer.Option(help="Which camera; the first where none is named.")] = None,
    frame: Annotated[int, typer.Option(help="Which of its frames.", min=0)] = 0,
    config: Config = CONFIG,
) -> None:
    """Draw what the model sees in one frame of a camera, without starting the system."""
    from app import diagnosis

    settings = _settings(config)
    out.print(diagnosis.preview(settings, camera, frame, out_file), markup=False)


@app.command()
def export(
    kind: Annotated[str, typer.Option("--format", help="openvino (the faster) or onnx.")] = "openvino",
    model: Annotated[str | None, typer.Option(help="A .pt; the configured model where none is named.")] = None,
    json: Json = False,
    config: Config = CONFIG,
) -> None:
    """Write the model in a form that is faster on the CPU, beside its .pt, where it is used from then on."""
    weights = model or _settings(config).detector.model
    if kind not in KINDS:
        raise SettingsError(f"--format: {kind!r} is unknown; allowed are {' and '.join(KINDS)}")
    from app.detection.exporting import export as write

    with err.status(f"exporting {Path(weights).name} to {kind}") if err.is_terminal else contextlib.nullcontext():
        path = write(weights, kind)
    out.print(JSON.dumps({"format": kind, "path": str(path)}) if json else str(path), markup=False)


quarantine = typer.Typer(help="Events that Kafka refused for good.", no_args_is_help=True)
app.add_typer(quarantine, name="quarantine")
EventIds = Annotated[list[str] | None, typer.Argument(help="Ids of the events, as 'list' shows them.")]
Everything = Annotated[bool, typer.Option("--all", help="Every event that is there.")]


@quarantine.command("list")
def list_quarantine(json: Json = False, config: Config = CONFIG) -> None:
    """Show them, oldest first; on the machine that keeps the spool."""
    from app import quarantine as aside

    for line in aside.lines(_settings(config), raw=json):
        out.print(line, markup=False)


@quarantine.command("resend")
def resend_quarantine(event_ids: EventIds = None, everything: Everything = False, config: Config = CONFIG) -> None:
    """Have them sent again, once what Kafka minded is mended."""
    from app import quarantine as aside

    count = aside.ask(_settings(config), "resend", event_ids or [], everything=everything)
    out.print(f"{count} events are sent again by the publisher", markup=False)


@quarantine.command("drop")
def drop_quarantine(event_ids: EventIds = None, everything: Everything = False, config: Config = CONFIG) -> None:
    """Give them up; they stay counted, as discarded."""
    from app import quarantine as aside

    count = aside.ask(_settings(config), "drop", event_ids or [], everything=everything)
    out.print(f"{count} events are dropped by the publisher", markup=False)


if __name__ == "__main__":
    main()
