"""The ``sightline`` command: builds it from one file a command, and maps errors to exit statuses.

Exit status: 0 done, 1 it failed, 2 the call or the configuration is wrong. A user's mistake is one line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import typer

from app.cli.anomalies import anomalies
from app.cli.bench.command import bench
from app.cli.camera import camera
from app.cli.cameras import cameras_app
from app.cli.console import FAILED, MISUSED, err
from app.cli.doctor import doctor
from app.cli.events import events
from app.cli.export import export
from app.cli.init import init
from app.cli.install import missing_packages
from app.cli.preview import preview
from app.cli.quarantine import quarantine_app
from app.cli.rules import rules_app
from app.cli.snapshot import snapshot
from app.cli.status import status
from app.cli.up import up
from app.cli.video import video
from app.errors import SettingsError, SightlineError

app = typer.Typer(
    name="sightline",
    help="Camera streams in, detection events out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
COMMANDS: tuple[Callable[..., None], ...] = (
    up,
    init,
    camera,
    events,
    anomalies,
    doctor,
    preview,
    export,
    bench,
    status,
    snapshot,
    video,
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(cameras_app, name="cameras")
app.add_typer(rules_app, name="rules")


@app.callback()
def check_install(context: typer.Context) -> None:
    """Camera streams in, detection events out."""
    missing = missing_packages()
    if missing and context.invoked_subcommand != "camera":
        raise SettingsError(
            f"'sightline {context.invoked_subcommand}' needs the whole install, and {missing[0]} is not installed; "
            "this install is for cameras on the edge ('sightline camera')"
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
