"""What all commands share: the options every one has, where they write, and how they find settings and system."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from app import launch
from app.settings import Settings, process_environment

if TYPE_CHECKING:  # at run time it is imported by the commands that ask
    from app.asking import SystemClient

Config = Annotated[str, typer.Option("--config", help="The Serve configuration of the system.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document a line, for programs.")]
CONFIG = "serve_config.yaml"
out, err = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)


def settings_by(config: str) -> Settings:
    """Resolve the settings as the applications of a Serve configuration will."""
    path = launch.find_serve_config(config)
    return launch.settings_of(launch.read_serve_config(path), process_environment())


def client(config: str) -> SystemClient:
    """Give who asks the system of a Serve configuration."""
    from app.asking import SystemClient, address_of

    serve_config = launch.read_serve_config(launch.find_serve_config(config))
    launch.ports_of(serve_config)  # a port that is none is a mistake to be named
    return SystemClient(address_of(serve_config), settings_by(config).token)


def wide() -> Console:
    """Give a console that does not fold tables where no terminal is."""
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=160)
