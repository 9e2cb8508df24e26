"""``sightline cameras``: the cameras of the running system."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import CONFIG, Config, Json, api_client, out, wide_console
from app.errors import SettingsError
from app.settings.connections import commas
from app.settings.masks import parse_polygon
from app.settings.source_url import SourceKind, SourceUrl

cameras_app = typer.Typer(help="The cameras of the running system.", no_args_is_help=True)


@cameras_app.command("list")
def cameras_list(json: Json = False, config: Config = CONFIG) -> None:
    """List the cameras, with state, rates and latency."""
    from app.cli import status_screen

    current = api_client(config).status()
    if json:
        for camera in current.cameras:
            print(camera.model_dump_json(by_alias=True))
    else:
        wide_console().print(status_screen.cameras_table(current.cameras, current.budget_ms, datetime.now(UTC)))


@cameras_app.command("add")
def cameras_add(
    camera: Annotated[str, typer.Argument(help="Its id.")],
    url: Annotated[str, typer.Argument(help="Its source; '-' reads it from standard input, for one with a password.")],
    fps: Annotated[float | None, typer.Option(help="Frames sampled per second; INFERENCE_FPS by default.")] = None,
    max_side: Annotated[int | None, typer.Option(help="Longest side, in pixels, of what is sent.")] = None,
    jpeg_quality: Annotated[int | None, typer.Option(help="1 to 100.")] = None,
    stall_s: Annotated[float | None, typer.Option(help="Silence that counts as a stall, in seconds; else 5.")] = None,
    decode: Annotated[str | None, typer.Option(help="auto, cuda, qsv or drm: hardware that decodes; else cpu.")] = None,
    mask: Annotated[
        list[str] | None, typer.Option(help="A polygon painted black, as 'x,y x,y x,y' from 0 to 1; may be repeated.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model that detects in its frames; there is 'default'.")] = None,
    confidence: Annotated[
        float | None, typer.Option(help="Lower scores are left out; else DETECTOR_CONFIDENCE.")
    ] = None,
    classes: Annotated[str | None, typer.Option(help="Comma list of labels to keep; else DETECTOR_CLASSES.")] = None,
    tracking: Annotated[bool, typer.Option(help="Whether its objects get track ids.")] = True,
    resource: Annotated[list[str] | None, typer.Option(help="NAME=AMOUNT of a Ray resource that places it.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Change the camera of this id, if there is one.")] = False,
    json: Json = False,
    config: Config = CONFIG,
) -> None:
    """Add a camera to the running system; it remains after a restart."""
    fields = {
        "url": _address(sys.stdin.readline().strip() if url == "-" else url),
        "fps": fps,
        "max_side": max_side,
        "stall_s": stall_s,
        "masks": [_polygon(text) for text in mask or []],
        "confidence": confidence,
        "classes": commas(classes or ""),
        "tracking": tracking,
        "resources": _amounts(resource or []),
        **({} if model is None else {"model": model}),
        **({} if decode is None else {"decode": decode}),
        **({} if jpeg_quality is None else {"jpeg_quality": jpeg_quality}),
    }
    added = api_client(config).add(camera, fields, replace=replace)
    out.print(
        added.model_dump_json(by_alias=True) if json else f"{added.id} is {added.origin}: {added.url}", markup=False
    )


@cameras_app.command("remove")
def cameras_remove(
    camera: Annotated[str, typer.Argument(help="Its id.")], json: Json = False, config: Config = CONFIG
) -> None:
    """Remove a camera from the running system, its last frames settled; it stays removed after a restart."""
    from app.cli import status_screen

    removed = api_client(config).remove(camera)
    out.print(removed.model_dump_json() if json else status_screen.removed_line(removed), markup=False)


def _address(url: str) -> str:
    """Return a path as an absolute one: the system has another working directory than this shell.

    Raises:
        SettingsError: it is no address, or begins with a home that is not there.
    """
    if SourceUrl.parse(url).kind is not SourceKind.FILE or url.lower().startswith("file://"):
        return url
    try:
        return str(Path(url).expanduser().absolute())
    except RuntimeError:
        raise SettingsError(f"url: there is no home for {Path(url).parts[0]}; allowed is a file's path") from None


def _polygon(text: str) -> list[tuple[float, float]]:
    try:
        return parse_polygon(text)
    except ValueError as error:
        raise SettingsError(f"--mask: {text!r}: {error}") from None


def _amounts(pairs: list[str]) -> dict[str, float]:
    amounts = {}
    for pair in pairs:
        name, _, amount = pair.partition("=")
        try:
            amounts[name] = float(amount)
        except ValueError:
            raise SettingsError(f"--resource: {pair!r}; allowed is NAME=AMOUNT, for instance edge=0.01") from None
    return amounts
