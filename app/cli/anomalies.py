"""``sightline anomalies``: the incidents of the running system, and those to come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from json import loads
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.console import CONFIG, Config, Json, api_client, out, resolve_settings, wide_console
from app.errors import SettingsError
from app.settings.duration import parse_duration
from app.settings.settings import Settings

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
            raise SettingsError("--follow: it lists what begins and ends from now on; allowed with it is --camera")
        for line in follow_lines(resolve_settings(config), camera=camera, count=count, raw=json):
            print(line, flush=True)
        return
    begin = None if since is None else moment(since, "--since", datetime.now(UTC)).isoformat()
    wanted = {"active": "true" if active else None, "camera": camera, "since": begin, "limit": str(limit)}
    client = api_client(config)
    found = client.anomalies(**wanted)
    if json:
        for one in found:
            print(one.model_dump_json(by_alias=True))
    else:
        wide_console().print(_table(found, datetime.now(UTC)))
        for line in address_lines(found, client.address):
            out.print(line, markup=False)


def follow_lines(settings: Settings, *, camera: str | None, count: int | None, raw: bool) -> Iterator[str]:
    """Yield one line for each record of the topic of anomalies, for ever or ``count`` times.

    Args:
        settings: the topic and its brokers.
        camera: only this camera's; ``None``: all.
        count: stop after so many.
        raw: each record's JSON as it is, rather than a line for a person.

    Raises:
        SettingsError: Kafka, or that topic, is off.
        DeliveryUnavailable: no broker answers, or the topic does not exist.
    """
    from app.cli.event_lines import connected

    topic = settings.kafka.anomalies_topic
    if topic is None:
        raise SettingsError("kafka.anomalies_topic (KAFKA_ANOMALIES_TOPIC): null: there is no topic to follow")
    printed = 0
    with connected(settings.model_copy(update={"kafka": settings.kafka.of_topic(topic)})) as follower:
        for received in follower:
            if camera is not None and received.camera_id != camera:
                continue
            value = received.value.decode(errors="replace")
            yield value if raw else describe(value)
            printed += 1
            if printed == count:
                return


def describe(value: str) -> str:
    """Return a record of the topic of anomalies as a line."""
    try:
        body: Mapping[str, Any] = loads(value)
        ended = body["ended_at"]
        line = (
            f"{(ended or body['started_at'])[11:23]}  {body['camera_id']:<16} {body['severity']:<7} {body['state']:<7} "
            f"{body['rule']} ({body['type']})"
        )
        details = [body["direction"], ", ".join(body["classes"]), body["reason"]]
        since = f"since {body['started_at'][11:19]}" if body["state"] in ("update", "end") else ""
        addresses = [body.get("image_url"), body.get("clip_url"), "evidence lost" if body.get("evidence") else ""]
        return "  ".join([line, *[str(one) for one in (*details, since, *addresses) if one]])
    except (ValueError, KeyError, TypeError):
        return "(not an incident of Sightline's)"


def address_lines(found: Sequence[AnomalyModel], address: str) -> Iterator[str]:
    """Yield the addresses of pictures and clips, a line for each incident that has any, and why one is not there.

    Args:
        found: the incidents.
        address: of the HTTP API, which leads to the store or has the bytes.
    """
    for one in found:
        parts = []
        for name, piece in (("image", one.image), ("clip", one.clip)):
            if piece is None:
                continue
            if piece.state in ("expired", "refused"):
                parts.append(f"no {name}: {piece.reason}")
            else:
                said = " (is being recorded)" if piece.state == "recording" else ""
                parts.append(f"{address}/api/v1/anomalies/{one.anomaly_id}/{name}{said}")
        if parts:
            yield f"{one.started_at:%m-%d %H:%M:%S}  {one.camera_id}  {one.rule}  {'  '.join(parts)}"


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
        raise SettingsError(f"{option}: {text!r}; allowed are 90s, 30m, 12h and 7d ago, and an ISO 8601 time") from None


def _table(found: Sequence[AnomalyModel], now: datetime) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for name in ("started (UTC)", "camera", "severity", "rule", "type", "what", "lasted"):
        table.add_column(name, justify="right" if name == "lasted" else "left")
    for one in found:
        if one.state == "instant":
            lasted = ""
        elif one.ended_at is None:
            lasted = f"{(now - one.started_at).total_seconds():.0f} s, goes on"
        else:
            lasted = f"{(one.ended_at - one.started_at).total_seconds():.0f} s"
        what = ", ".join(part for part in (one.direction, *one.classes, one.reason) if part)
        table.add_row(
            f"{one.started_at:%m-%d %H:%M:%S}", escape(one.camera_id), one.severity, escape(one.rule), one.type,
            escape(what), lasted,
        )  # fmt: skip
    return table
