"""Nodes of each kind are killed under load: a cluster of five nodes on this machine, in a process of its own."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.support.ray_apart import reported_by
from tests.support.table import Table

HEADER = (
    "| node killed | what ran there | cameras interrupted | recovered after | frames dropped | calls refused |",
    "|---|---|---|---|---|---|",
)


def row(one: dict[str, Any]) -> str:
    """Return a row of the table."""

    def counted(names: Counter[str]) -> str:
        return ", ".join(f"{count} {name}" for name, count in sorted(names.items())) or "-"

    cells = (
        one["killed"],
        counted(Counter(one["ran_there"])),
        len(one["interrupted"]),
        f"{one['recovered_s']:.1f} s" if one["interrupted"] else "-",
        counted(Counter(one["dropped"])),
        one["load_refused"],
    )
    return f"| {' | '.join(map(str, cells))} |"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_node_of_each_kind_dies_and_no_accepted_event_is_lost(table: Table):
    reported = reported_by("many_nodes", timeout_s=800)
    load, accounts = reported["load"], reported["accounts"]
    table.write(
        [
            *HEADER,
            *map(row, reported["rows"]),
            "",
            f"Accepted with `OK`: {load['accepted']} of own calls, {reported['cameras_accepted']} of the cameras. "
            f"Lost: {load['lost']} and {sum(reported['cameras_lacking'].values())}; duplicated: {load['duplicated']}; "
            f"out of order: {load['out_of_order']}. The spool at rest: {accounts}.",
        ]
    )
    assert [one["killed"] for one in reported["rows"]] == ["edge", "gpu", "spool", "plain"]
    assert (load["lost"], load["out_of_order"], reported["cameras_lacking"]) == (0, 0, {})
    assert accounts["accepted"] == accounts["published"] > load["accepted"]
    assert accounts["accepted"] >= load["accepted"] + reported["cameras_accepted"]
    # A node with cameras alone takes none but its own with it, and these come back as fast as after any node's death.
    for one in reported["rows"]:
        if not {"ObjectDetector", "DetectionIngress", "KafkaPublisher"} & set(one["ran_there"]):
            assert len(one["cameras_anew"]) == one["ran_there"].count("CameraActor")
            assert one["recovered_s"] < 15
        assert one["recovered_s"] < 90
