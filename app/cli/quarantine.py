"""``sightline quarantine``: events and records that Kafka refused for good are listed, sent again, or dropped."""

from __future__ import annotations

import json as JSON  # noqa: N812  # an option is called json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Literal

import typer

from app.cli.console import CONFIG, Config, Json, out, resolve_settings
from app.errors import SettingsError
from app.publisher import Quarantined, ask_quarantine, quarantined
from app.settings.settings import Settings

EventIds = Annotated[list[str] | None, typer.Argument(help="Ids of the events, as 'list' shows them.")]
Everything = Annotated[bool, typer.Option("--all", help="Every event that is there.")]
quarantine_app = typer.Typer(help="Events that Kafka refused for good.", no_args_is_help=True)


@quarantine_app.command("list")
def list_quarantine(json: Json = False, config: Config = CONFIG) -> None:
    """List them, oldest first; on the machine that holds the spool."""
    for line in lines(resolve_settings(config), raw=json):
        out.print(line, markup=False)


@quarantine_app.command("resend")
def resend_quarantine(event_ids: EventIds = None, everything: Everything = False, config: Config = CONFIG) -> None:
    """Send them again, once the reason of the refusal is fixed."""
    count = request(resolve_settings(config), "resend", event_ids or [], everything=everything)
    out.print(f"{count} events are sent again by the publisher", markup=False)


@quarantine_app.command("drop")
def drop_quarantine(event_ids: EventIds = None, everything: Everything = False, config: Config = CONFIG) -> None:
    """Drop them; they remain counted, as discarded."""
    count = request(resolve_settings(config), "drop", event_ids or [], everything=everything)
    out.print(f"{count} events are dropped by the publisher", markup=False)


def lines(settings: Settings, *, raw: bool) -> list[str]:
    """Return a line for each event in quarantine, oldest first.

    Raises:
        SpoolUnavailable: there is no spool on this machine, or it cannot be read.
    """
    return [JSON.dumps(asdict(each)) if raw else _line(each) for each in quarantined(settings.spool.dir)]


def request(
    settings: Settings, action: Literal["resend", "drop"], event_ids: Sequence[str], *, everything: bool
) -> int:
    """Ask the publisher to send events again or to drop them, and return how many; it does so within seconds.

    Raises:
        SettingsError: neither events are named nor all, or one of them is not in quarantine.
        SpoolUnavailable: there is no spool on this machine, or it cannot be written.
    """
    if bool(event_ids) == everything:
        raise SettingsError("name the events, or give --all; allowed is one of the two")
    known = {each.event_id for each in quarantined(settings.spool.dir)}
    for event_id in event_ids:
        if event_id not in known:
            raise SettingsError(f"event {event_id!r} is not in quarantine; 'sightline quarantine list' shows what is")
    return ask_quarantine(settings.spool.dir, action, event_ids) if known else 0


def _line(each: Quarantined) -> str:
    moment = datetime.fromtimestamp(each.at_ns / 1e9, UTC)
    where = f"{each.event_id}  {each.channel:<10}  {each.camera_id:<16}"
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}  {where} {each.bytes:>8} bytes  {each.reason}"
