"""A node's death moves its cameras: a cluster of three nodes on this machine, in a process of its own."""

from __future__ import annotations

import pytest

from tests.support.ray_apart import reported_by
from tests.support.table import Table


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", [[], ["--silent"]], ids=["killed", "silent"])
def test_a_node_s_cameras_are_back_on_other_nodes_within_15_s_in_a_new_epoch(how: list[str], table: Table):
    reported = reported_by("node_death", *how, timeout_s=500)
    table.write([f"A node {'fell silent' if how else 'was killed'}: {reported}"])
    assert reported["cameras_by_node"] == [2, 2, 2]
    assert reported["lost"] > 0
    assert reported["left_there"] == 0
    assert reported["others_kept"] == sum(reported["cameras_by_node"]) - reported["lost"]
    assert max(reported["back_s"].values()) < 15
