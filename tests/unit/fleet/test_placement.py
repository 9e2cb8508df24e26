"""Where cameras run: where their resources are, and evenly spread."""

from __future__ import annotations

from collections import Counter

from app.fleet.placement import AVOIDED_S, Node, Placement
from tests.support.fleet import camera

NODES = [Node("one", {"edge": 1.0}), Node("two", {"edge": 1.0}), Node("three", {})]


def test_cameras_are_spread_evenly():
    placement = Placement()
    placed = Counter(placement.place(camera(f"c{number}"), NODES) for number in range(9))
    assert placed == {"one": 3, "two": 3, "three": 3}


def test_a_camera_runs_where_its_resources_are_and_where_they_are_not_taken():
    placement = Placement()
    placed = [placement.place(camera(f"c{number}", resources={"edge": 0.5}), NODES) for number in range(5)]
    assert placed == ["one", "two", "one", "two", None]
    assert placement.place(camera("other", resources={"roof": 0.1}), NODES) is None
    placement.remove("c0")
    assert placement.place(camera("c4", resources={"edge": 0.5}), NODES) == "one"


def test_a_camera_that_is_placed_again_makes_room_for_itself():
    placement = Placement()
    for _ in range(3):
        assert placement.place(camera("a", resources={"edge": 1}), NODES[:1]) == "one"


def test_a_node_on_which_an_actor_died_is_taken_only_where_there_is_no_other_for_a_while():
    now = [0.0]
    placement = Placement(lambda: now[0])
    assert placement.place(camera("a"), NODES) == "one"
    placement.actor_died("a")
    assert [placement.place(camera(name), NODES) for name in "abcd"] == ["two", "three", "two", "three"]
    assert placement.place(camera("e"), NODES[:1]) == "one"
    now[0] += AVOIDED_S + 1
    placement.remove("e")
    assert placement.place(camera("f"), NODES) == "one"


def test_a_camera_on_a_shunned_node_is_there_for_want_of_another():
    placement = Placement()
    placement.place(camera("a"), NODES[:1])
    assert not placement.is_on_avoided_node("a")
    placement.actor_died("a")
    assert not placement.is_on_avoided_node("a")
    placement.place(camera("a"), NODES[:1])
    assert placement.is_on_avoided_node("a")
    assert placement.may_move(camera("a"), NODES)


def test_a_camera_may_move_where_another_node_has_its_resources_and_is_not_shunned():
    placement = Placement()
    edge = camera("a", resources={"edge": 0.5})
    assert not placement.may_move(edge, NODES)  # it is nowhere yet
    placement.place(edge, NODES)
    assert placement.may_move(edge, NODES)
    assert not placement.may_move(edge, [NODES[0], NODES[2]])
    placement.place(camera("b"), NODES[1:2])
    placement.actor_died("b")
    assert not placement.may_move(edge, NODES)
