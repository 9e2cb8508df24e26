"""What all commands share: common options, output, exit statuses, and the settings and system of a configuration.

The files of the commands are imported together; what takes long to import, or is missing on the edge (torch, Kafka's
client, FastAPI), they import in the functions that use it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from app.settings.environment import process_environment
from app.settings.serve_config import find_serve_config, ports_of, read_serve_config, settings_of
from app.settings.settings import Settings

if TYPE_CHECKING:
    from app.web.client import ApiClient

FAILED, MISUSED = 1, 2
"""Exit statuses."""
Config = Annotated[str, typer.Option("--config", help="The Serve configuration of the system.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document a line, for programs.")]
CONFIG = "serve_config.yaml"
out, err = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)


def resolve_settings(config: str) -> Settings:
    """Return the settings, resolved as the applications of a Serve configuration will.

    Raises:
        SettingsError: the configuration or a setting is wrong.
    """
    return settings_of(read_serve_config(find_serve_config(config)), process_environment())


def api_client(config: str) -> ApiClient:
    """Return a client of the system that a Serve configuration describes.

    Raises:
        SettingsError: the configuration or a setting is wrong.
    """
    from app.web.client import ApiClient, address_of

    serve_config = read_serve_config(find_serve_config(config))
    ports_of(serve_config)  # an invalid port is an error of its own
    return ApiClient(address_of(serve_config), resolve_settings(config).token)


def wide_console() -> Console:
    """Return a console that does not fold tables where the output is not a terminal."""
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=160)


@contextlib.contextmanager
def progress(description: str, total: float) -> Iterator[Callable[[float], None]]:
    """Show a progress bar on a terminal; yields a function that sets how much of ``total`` is done."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with Progress(console=err, transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)
