"""The ``sightline`` command: one function a duty, each thin over the module that does it.

Exit status: 0 done, 1 it failed, 2 the call or the configuration is wrong. A user's mistake is one line.
"""

from __future__ import annotations

import contextlib
import json as JSON  # noqa: N812  # an option is called json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from app.cli.cameras import cameras_app
from app.cli.console import CONFIG, Config, Json, client, err, out, settings_by, wide
from app.cli.up import find_the_model, missing_packages, serve_run
from app.detection.models.exports import KINDS
from app.errors import SettingsError, SightlineError
from app.settings.environment import process_environment
from app.settings.serve_config import find_serve_config, listening_on, ports_of, read_serve_config

FAILED, MISUSED = 1, 2
"""Exit statuses."""

app = typer.Typer(
    name="sightline",
    help="Camera streams in, detection events out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def whole(context: typer.Context) -> None:
    """Camera streams in, detection events out."""
    missing = missing_packages()
    if missing and context.invoked_subcommand != "camera":
        raise SettingsError(
            f"'sightline {context.invoked_subcommand}' needs the whole install, and {missing[0]} is not here; "
            "this one is for cameras on the edge ('sightline camera')"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its status; the arguments are the process's own unless they are passed in."""
    try:
        app(arguments)
    except SettingsError as error:
        err.print(f"sightline: {error}", markup=False)
        sys.exit(MISUSED)
    except SightlineError as error:
        err.print(f"sightline: {error}", markup=False)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(130)


@app.command()
def up(
    listen: Annotated[str | None, typer.Option(help="Address for HTTP and gRPC; 0.0.0.0: every interface.")] = None,
    config: Config = CONFIG,
) -> None:
    """Start the whole system on this machine; Ctrl-C ends it."""
    from app.fleet import describe_overrides

    settings = settings_by(config)
    serve_config = find_serve_config(config)
    listening_on(read_serve_config(serve_config), listen)  # a mistake is told before anything starts
    find_the_model(settings, process_environment())
    broker = "the embedded broker" if settings.kafka.embedded else ", ".join(settings.kafka.bootstrap_servers)
    where = f"topic {settings.kafka.topic} on {broker}" if settings.kafka.enabled else "nowhere (Kafka is off)"
    changed = describe_overrides(settings.state_dir)
    out.print(
        f"Sightline: {len(settings.cameras)} cameras{changed} at {settings.inference_service_url.target}, "
        f"events to {where}; "
        "follow them with 'sightline events'; the dashboard is http://127.0.0.1:8265 (its token: ray get-auth-token)",
        markup=False,
    )
    raise typer.Exit(serve_run(serve_config, settings, process_environment(), listen))


@app.command()
def camera(
    camera_id: Annotated[str, typer.Option("--id", help="What the camera is called; unique in the system.")],
    url: Annotated[str, typer.Option(help="Its source; ${NAME} is read from the environment: a password, say.")],
    service: Annotated[
        str | None, typer.Option(help="host:port, or grpcs://host:port; else INFERENCE_SERVICE_URL.")
    ] = None,
    fps: Annotated[str | None, typer.Option(help="Frames sampled per second; else INFERENCE_FPS.")] = None,
    max_side: Annotated[str | None, typer.Option(help="Longest side, in pixels, of what is sent.")] = None,
    jpeg_quality: Annotated[str | None, typer.Option(help="1 to 100.")] = None,
    metrics_host: Annotated[str, typer.Option(help="Where /metrics is offered; 0.0.0.0: to every host.")] = "127.0.0.1",
    metrics_port: Annotated[int, typer.Option(help="Its port; 0: any that is free.", min=0, max=65535)] = 9464,
    json: Json = False,
) -> None:
    """Watch one camera from this machine, without Ray, for a service elsewhere; Ctrl-C ends it and shows its ledger."""
    from app.cameras import edge

    options = {"id": camera_id, "url": url, "fps": fps, "max_side": max_side, "jpeg_quality": jpeg_quality}
    environment = process_environment()
    if service:
        environment = {**environment, "INFERENCE_SERVICE_URL": service}
    edge.log_to_stderr()
    last = edge.run(options, edge.Page(metrics_host, metrics_port), environment)
    print(edge.ledger_json(last) if json else edge.ledger_line(last))


@app.command()
def events(
    camera: Annotated[str | None, typer.Option(help="Only this camera's.")] = None,
    from_beginning: Annotated[bool, typer.Option(help="Start with the oldest event kept.")] = False,
    count: Annotated[int | None, typer.Option(help="Stop after so many.", min=1)] = None,
    json: Json = False,
    config: Config = CONFIG,
) -> None:
    """Follow the topic: camera, labels and latency of each event."""
    from app.cli.events import follow

    settings = settings_by(config)
    for line in follow(settings, camera=camera, from_beginning=from_beginning, count=count, raw=json):
        print(line, flush=True)


@app.command()
def doctor(json: Json = False, config: Config = CONFIG) -> None:
    """Check model, Kafka, cameras, GPU and ports before a start, and say how to mend what fails."""
    settings = settings_by(config)
    if settings.detector.model_sha256 is not None:  # before the model is loaded
        find_the_model(settings, process_environment())
    ports = ports_of(read_serve_config(find_serve_config(config)))
    from app.cli.doctor import State, examine  # here: it loads torch, for which a mistake need not wait

    sound = True
    for finding in examine(settings, ports):
        sound = sound and finding.state is not State.FAILED
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
    settings = settings_by(config)
    from app.cli.preview import preview as preview_frame  # here: it loads torch, for which a mistake need not wait

    out.print(preview_frame(settings, camera, frame, out_file), markup=False)


@app.command()
def export(
    kind: Annotated[str, typer.Option("--format", help="openvino (the faster) or onnx.")] = "openvino",
    model: Annotated[str | None, typer.Option(help="A .pt; the configured model where none is named.")] = None,
    json: Json = False,
    config: Config = CONFIG,
) -> None:
    """Write the model in a form that is faster on the CPU, beside its .pt, where it is used from then on."""
    weights = model or settings_by(config).detector.model
    if kind not in KINDS:
        raise SettingsError(f"--format: {kind!r} is unknown; allowed are {' and '.join(KINDS)}")
    from app.detection.models.exporter import export as write

    with err.status(f"exporting {Path(weights).name} to {kind}") if err.is_terminal else contextlib.nullcontext():
        path = write(weights, kind)
    out.print(JSON.dumps({"format": kind, "path": str(path)}) if json else str(path), markup=False)


@app.command()
def bench(
    cameras: Annotated[int, typer.Option(help="How many cameras.")] = 4,
    fps: Annotated[float, typer.Option(help="Frames sampled per second, each.")] = 5.0,
    seconds: Annotated[float, typer.Option(help="How long is measured.")] = 30.0,
    warm_up: Annotated[float, typer.Option("--warm-up", help="Seconds of load before.")] = 10.0,
    detector: Annotated[str, typer.Option(help="model, or no-op: one that costs nothing.")] = "model",
    size: Annotated[str, typer.Option(help="Pixels of each simulated camera.")] = "1280x720",
    recording: Annotated[Path | None, typer.Option(help="A video file that every camera plays instead.")] = None,
    json: Json = False,
    config: Config = CONFIG,
) -> None:
    """Put a system of its own under the load of N cameras; tell latencies by stage, rate, drops and costs."""
    from app.cli.bench import Bench, BenchPlan, screen, size_of

    width, height = size_of(size)
    plan = BenchPlan(cameras, fps, seconds, warm_up, detector, width, height, recording)
    settings_by(config)  # a mistake in it is told before anything starts
    serve_config = read_serve_config(find_serve_config(config))
    with _progress(plan.told, seconds) as tell:
        report = Bench(plan, serve_config, process_environment(), tell).run()
    if json:
        print(JSON.dumps(report.as_json()))
    else:
        wide().print(screen(report))


quarantine = typer.Typer(help="Events that Kafka refused for good.", no_args_is_help=True)
app.add_typer(quarantine, name="quarantine")
EventIds = Annotated[list[str] | None, typer.Argument(help="Ids of the events, as 'list' shows them.")]
Everything = Annotated[bool, typer.Option("--all", help="Every event that is there.")]


@quarantine.command("list")
def list_quarantine(json: Json = False, config: Config = CONFIG) -> None:
    """Show them, oldest first; on the machine that keeps the spool."""
    from app.cli.quarantine import lines

    for line in lines(settings_by(config), raw=json):
        out.print(line, markup=False)


@quarantine.command("resend")
def resend_quarantine(event_ids: EventIds = None, everything: Everything = False, config: Config = CONFIG) -> None:
    """Have them sent again, once what Kafka minded is mended."""
    from app.cli.quarantine import ask

    count = ask(settings_by(config), "resend", event_ids or [], everything=everything)
    out.print(f"{count} events are sent again by the publisher", markup=False)


@quarantine.command("drop")
def drop_quarantine(event_ids: EventIds = None, everything: Everything = False, config: Config = CONFIG) -> None:
    """Give them up; they stay counted, as discarded."""
    from app.cli.quarantine import ask

    count = ask(settings_by(config), "drop", event_ids or [], everything=everything)
    out.print(f"{count} events are dropped by the publisher", markup=False)


app.add_typer(cameras_app, name="cameras")


@app.command()
def status(json: Json = False, config: Config = CONFIG) -> None:
    """Show the running system on one screen: cameras, latency by stage, replicas, queue, spool and broker."""
    from app.cli.status import screen

    told = client(config).status()
    if json:
        print(told.model_dump_json(by_alias=True))
    else:
        wide().print(screen(told))


@app.command()
def snapshot(
    camera: Annotated[str, typer.Argument(help="Which camera.")],
    out_file: Annotated[Path, typer.Option("--out", help="Where the picture goes (.jpg or .png).")],
    json: Json = False,
    config: Config = CONFIG,
) -> None:
    """Write the newest frame of a running camera with its boxes."""
    from app.cli.snapshot import snapshot as write_snapshot

    told = write_snapshot(client(config), camera, out_file)
    print(told.as_json() if json else told.as_line())


@app.command()
def video(
    camera: Annotated[str, typer.Argument(help="Which camera.")],
    out_file: Annotated[Path, typer.Option("--out", help="Where the film goes (.mp4).")],
    seconds: Annotated[float, typer.Option(help="How long.", min=1, max=3600)] = 10,
    json: Json = False,
    config: Config = CONFIG,
) -> None:
    """Write what a running camera shows for some seconds, with its boxes."""
    from app.cli.snapshot import video as write_video

    system = client(config)
    with _progress(f"watching {camera}", seconds) as tell:
        told = write_video(system, camera, out_file, seconds, tell=tell)
    print(told.as_json() if json else told.as_line())


@contextlib.contextmanager
def _progress(what: str, total: float) -> Iterator[Callable[[float], None]]:
    """Show a bar of work done; none off a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with Progress(console=err, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


if __name__ == "__main__":
    main()
