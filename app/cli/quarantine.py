"""What ``sightline quarantine`` does: events that Kafka refused for good are shown, sent again, or dropped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Literal

from app.errors import SettingsError
from app.publisher import Quarantined, ask_quarantine, quarantined
from app.settings.settings import Settings


def lines(settings: Settings, *, raw: bool) -> list[str]:
    """Return a line for each event that was set aside, oldest first.

    Raises:
        SpoolUnavailable: there is no spool on this machine, or it cannot be read.
    """
    return [json.dumps(asdict(each)) if raw else _line(each) for each in quarantined(settings.spool.dir)]


def ask(settings: Settings, wish: Literal["resend", "drop"], event_ids: Sequence[str], *, everything: bool) -> int:
    """Have events sent again or dropped by the publisher, within seconds or when it next runs; give how many.

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
    return ask_quarantine(settings.spool.dir, wish, event_ids) if known else 0


def _line(each: Quarantined) -> str:
    moment = datetime.fromtimestamp(each.at_ns / 1e9, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}  {each.event_id}  {each.camera_id:<16} {each.bytes:>8} bytes  {each.reason}"
