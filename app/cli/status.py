"""``sightline status``: the running system on one screen."""

from __future__ import annotations

from app.cli.console import CONFIG, Config, Json, api_client, wide_console


def status(json: Json = False, config: Config = CONFIG) -> None:
    """Show the running system on one screen: cameras, latency by stage, replicas, queue, spool and broker."""
    current = api_client(config).status()
    if json:
        print(current.model_dump_json(by_alias=True))
        return
    from app.cli.status_screen import screen

    wide_console().print(screen(current))
