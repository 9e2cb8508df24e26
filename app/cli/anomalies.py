"""``sightline anomalies``: the incidents of the running system, and those to come."""

from __future__ import annotations

import json as json_text
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.console import CONFIG, Config, Json, api_client, out, resolve_settings, wide_console
from app.errors import SettingsError
from app.settings.duration import parse_duration

if TYPE_CHECKING:
    from rich.table import Table

    from app.web.anomaly_fields import AnomalyModel


def anomalies(
    active: Annotated[bool, typer.Option("--active", help="Only those that go on.")] = False,
    camera: Annotated[str | None, typer.Option(help="Only this camera's.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Those that go on, or ended since: 90s, 30m, 12h, 7d, or an ISO 8601 time.")
    ] = None,
    limit: Annotated[int, typer.Option(help="The newest so many.", min=1, max=500)] = 50,
    follow: Annotated[bool, typer.Option("--follow", help="Follow the topic of anomalies from now on.")] = False,
    count: Annotated[int | None, typer.Option(help="With --follow: stop after so many.", min=1)] = None,
    json: Json = False,
    config: Config = CONFIG,
) -> None:
    """List the incidents of the running system, the newest first, or follow what begins and ends."""
    if follow:
        if active or since is not None:
            raise SettingsError("--follow: it tells what begins and ends from now on; allowed with it is --camera")
        _follow(camera, count, json, config)
        return
    begin = None if since is None else moment(since, "--since", datetime.now(UTC)).isoformat()
    found = api_client(config).anomalies(
        active="true" if active else None, camera=camera, since=begin, limit=str(limit)
    )
    if json:
        for one in found:
            print(one.model_dump_json(by_alias=True))
    else:
        wide_console().print(_table(found, datetime.now(UTC)))


def moment(text: str, option: str, now: datetime) -> datetime:
    """Return the point in time that an option names: so long ago, or a time in ISO 8601 (UTC without an offset).

    Raises:
        SettingsError: it is neither.
    """
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time
    except ValueError:
        pass
    try:
        return now - parse_duration(text)
    except (ValueError, OverflowError):
        raise SettingsError(
            f"{option}: {text!r}; allowed are 90s, 30m, 12h and 7d ago, and an ISO 8601 time"
        ) from None
