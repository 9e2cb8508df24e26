"""``sightline rules``: whether a rules file is right, and what its rules would have said of past events."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.console import FAILED, Json, out, wide_console
from app.core.read_failure import read_failure
from app.errors import SettingsError

if TYPE_CHECKING:
    from rich.table import Table

    from app.analysis.rules.replay import Replay

rules_app = typer.Typer(help="The rules.", no_args_is_help=True)
RulesFile = Annotated[Path, typer.Argument(metavar="RULES", help="A rules file.")]
_DIFFERENCES = 20
"""Differences that are shown one by one."""


@rules_app.command("check")
def rules_check(file: RulesFile) -> None:
    """Check a rules file; a mistake is one line, and exit status 2."""
    from app.settings.rule_lists import read_rules_file

    rules = read_rules_file(file)
    out.print(f"{file}: {len(rules)} rule{'' if len(rules) == 1 else 's'}, no mistake", markup=False)


@rules_app.command("test")
def rules_test(
    file: RulesFile,
    events: Annotated[Path, typer.Option(help="Past events, as 'sightline events --json' writes them.")],
    fail_on_diff: Annotated[bool, typer.Option("--fail-on-diff", help="Exit with 1 on a difference.")] = False,
    json: Json = False,
) -> None:
    """Apply rules to past events: what they give, beside what the rules of then gave."""
    from app.analysis.rules.replay import Replay
    from app.settings.rule_lists import read_rules_file

    replay = Replay(read_rules_file(file))
    try:
        with events.open() as lines:
            for transition in replay.apply(lines, str(events)):
                if json:
                    _print_json(transition)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"events file {str(events)!r} cannot be read: {read_failure(error)}") from None
    if not json:
        wide_console().print(_table(replay))
        for line in _differences(replay):
            out.print(line, markup=False)
    if fail_on_diff and any(outcome.differs for outcome in replay.outcomes.values()):
        raise typer.Exit(FAILED)


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
