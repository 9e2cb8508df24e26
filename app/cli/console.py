"""What all commands share: the options every one has, where they write, and how they find settings and system."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from app.settings.environment import process_environment
from app.settings.serve_config import find_serve_config, ports_of, read_serve_config, settings_of
from app.settings.settings import Settings

if TYPE_CHECKING:  # at run time it is imported by the commands that ask
    from app.web.client import ApiClient

Config = Annotated[str, typer.Option("--config", help="The Serve configuration of the system.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document a line, for programs.")]
CONFIG = "serve_config.yaml"
out, err = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)


def settings_by(config: str) -> Settings:
    """Resolve the settings as the applications of a Serve configuration will."""
    path = find_serve_config(config)
    return settings_of(read_serve_config(path), process_environment())


def client(config: str) -> ApiClient:
    """Return who asks the system of a Serve configuration."""
    from app.web.client import ApiClient, address_of

    serve_config = read_serve_config(find_serve_config(config))
    ports_of(serve_config)  # a port that is none is a mistake to be named
    return ApiClient(address_of(serve_config), settings_by(config).token)


def wide() -> Console:
    """Return a console that does not fold tables where no terminal is."""
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=160)
