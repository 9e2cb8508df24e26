"""``sightline rules``: the rules of the running system; and what a rules file would have said of past events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.anomalies import moment
from app.cli.console import CONFIG, FAILED, Config, Json, api_client, out, resolve_settings, wide_console
from app.core.read_failure import read_failure
from app.errors import SettingsError
from app.settings.settings import Settings

if TYPE_CHECKING:
    from rich.table import Table

    from app.analysis.rules.replay import Replay
    from app.web.rule_fields import RuleModel

rules_app = typer.Typer(help="The rules.", no_args_is_help=True)
RulesFile = Annotated[Path, typer.Argument(metavar="RULES", help="A rules file.")]
_DIFFERENCES = 20
"""Differences that are shown one by one."""


@rules_app.command("list")
def rules_list(json: Json = False, config: Config = CONFIG) -> None:
    """List the rules of the running system."""
    rules = api_client(config).rules()
    if json:
        for rule in rules:
            print(rule.model_dump_json(by_alias=True))
    else:
        wide_console().print(_rules_table(rules))


@rules_app.command("add")
def rules_add(
    file: RulesFile,
    replace: Annotated[bool, typer.Option("--replace", help="Change the rules whose ids there are already.")] = False,
    json: Json = False,
    config: Config = CONFIG,
) -> None:
    """Add the rules of a rules file to the running system; they remain after a restart."""
    from app.settings.rule_lists import read_rules_file

    rules = read_rules_file(file)  # a mistake in one of them adds none
    client = api_client(config)
    present = [] if replace else [rule.id for rule in client.rules()]
    taken = [rule.id for rule in rules if rule.id in present]
    if taken:
        raise SettingsError(f"there is a rule {taken[0]!r} already; nothing was added (--replace changes it)")
    for rule in rules:
        fields = rule.model_dump(mode="json", by_alias=True, exclude_unset=True)
        added = client.add_rule(fields, replace=replace)
        line = f"{added.id} ({added.type}) is {added.origin}, for {', '.join(added.applies_to) or 'no present camera'}"
        out.print(added.model_dump_json(by_alias=True) if json else line, markup=False)


@rules_app.command("remove")
def rules_remove(
    rule: Annotated[str, typer.Argument(help="Its id.")], json: Json = False, config: Config = CONFIG
) -> None:
    """Remove a rule from the running system; it stays removed after a restart."""
    removed = api_client(config).remove_rule(rule)
    out.print(removed.model_dump_json() if json else f"{removed.id} is removed; its incidents have ended", markup=False)


@rules_app.command("check")
def rules_check(file: RulesFile) -> None:
    """Check a rules file; a mistake is one line, and exit status 2."""
    from app.settings.rule_lists import read_rules_file

    rules = read_rules_file(file)
    out.print(f"{file}: {len(rules)} rule{'' if len(rules) == 1 else 's'}, no mistake", markup=False)


@rules_app.command("test")
def rules_test(
    file: RulesFile,
    events: Annotated[Path | None, typer.Option(help="Past events, as 'sightline events --json' writes them.")] = None,
    from_topic: Annotated[bool, typer.Option("--from-topic", help="The past events that the topic has.")] = False,
    since: Annotated[
        str | None, typer.Option(help="With --from-topic: 90s, 30m, 12h or 7d ago, or an ISO 8601 time; else all.")
    ] = None,
    fail_on_diff: Annotated[bool, typer.Option("--fail-on-diff", help="Exit with 1 on a difference.")] = False,
    json: Json = False,
    config: Config = CONFIG,
) -> None:
    """Apply rules to past events: what they give, beside what the rules of then gave."""
    from app.analysis.rules.replay import Replay
    from app.settings.rule_lists import read_rules_file

    if (events is None) == (not from_topic):
        raise SettingsError("--events FILE, --from-topic: allowed is one of them, and one is needed")
    if since is not None and not from_topic:
        raise SettingsError("--since: it goes with --from-topic; of a file all events are read")
    rules, settings = read_rules_file(file), resolve_settings(config)
    replay = Replay(rules, settings.tracking.lost_after)
    for transition in _from_file(replay, events) if events else _from_topic(replay, since, settings):
        if json:
            _print_json(transition)
    if not json:
        wide_console().print(_table(replay))
        for line in _differences(replay):
            out.print(line, markup=False)
    if fail_on_diff and any(outcome.differs for outcome in replay.outcomes.values()):
        raise typer.Exit(FAILED)


def _from_file(replay: Replay, file: Path) -> Iterator[dict[str, Any]]:
    try:
        with file.open() as lines:
            yield from replay.apply(lines, str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"events file {str(file)!r} cannot be read: {read_failure(error)}") from None


def _from_topic(replay: Replay, since: str | None, settings: Settings) -> Iterator[dict[str, Any]]:
    from app.cli.event_lines import connected

    since_ms = None if since is None else int(moment(since, "--since", datetime.now(UTC)).timestamp() * 1000)
    with connected(settings, from_beginning=since is None, since_ms=since_ms) as follower:
        lines = (received.value.decode(errors="replace") for received in follower.until_now())
        yield from replay.apply(lines, f"topic {settings.kafka.topic}")


def _rules_table(rules: Sequence[RuleModel]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for name in ("rule", "type", "severity", "origin", "cameras"):
        table.add_column(name)
    for rule in rules:
        cameras = ", ".join(rule.applies_to) or "none of those present"
        table.add_row(escape(rule.id), rule.type, rule.severity, rule.origin, escape(cameras))
    return table


def _print_json(transition: dict[str, object]) -> None:
    from json import dumps

    print(dumps(transition, separators=(",", ":"), ensure_ascii=False))


def _table(replay: Replay) -> Table:
    from rich.table import Table

    table = Table(title=f"{replay.events} events", title_justify="left")
    for name in ("rule", "type", "incidents", "as published", "new ones", "gone"):
        table.add_column(name, justify="left" if name in ("rule", "type") else "right")
    for rule, outcome in replay.outcomes.items():
        now, then, added, gone = (
            sum(one["state"] in ("new", "instant") for one in bodies)
            for bodies in (outcome.now.values(), outcome.then.values(), outcome.added, outcome.gone)
        )
        table.add_row(rule, outcome.type, str(now), str(then), str(added), str(gone))
    return table


def _differences(replay: Replay) -> list[str]:
    found = [
        f"{sign} {one['started_at']} {one.get('camera_id', '')} {rule} {one['state']} "
        f"{' '.join(map(str, one['track_ids']))}".rstrip()
        for rule, outcome in replay.outcomes.items()
        for sign, bodies in (("+", outcome.added), ("-", outcome.gone))
        for one in bodies
    ]
    more = [f"and {len(found) - _DIFFERENCES} more"] if len(found) > _DIFFERENCES else []
    return found[:_DIFFERENCES] + more
