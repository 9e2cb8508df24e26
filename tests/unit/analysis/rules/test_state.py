"""RulesState and its bytes."""

from __future__ import annotations

import msgpack
import pytest

from app.analysis.rules.engine import apply_rules, make_camera_rules
from app.analysis.rules.state import VERSION, RulesState, Subject, decode_state, encode_state
from app.errors import StateUnreadable
from app.settings.rule_lists import parse_rules
from tests.unit.analysis.rules.scenes import ALL, film, stands


def state() -> RulesState:
    rules = make_camera_rules(parse_rules([{"id": "a", "type": "stopped", "include_parked": True, "zone": ALL}]), "cam")
    kept = RulesState()
    for frame in film({1: stands(0.3, 0.5), 2: stands(0.6, 0.5)}, 15):
        kept, _ = apply_rules(kept, frame, rules)
    return kept


def test_the_bytes_give_back_the_same_records():
    kept = state()
    again = decode_state(encode_state(kept))
    assert again == kept
    assert list(again.tracks) == list(kept.tracks)
    assert isinstance(again.rules["a"].subjects[(1,)], Subject)
    assert encode_state(again) == encode_state(kept)
    assert decode_state(encode_state(RulesState())) == RulesState()


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", encode_state(state())[:-1], encode_state(state()) + b"\x00", msgpack.packb((VERSION, 1)), b"\x01"],
)
def test_bytes_that_are_damaged_are_one_error(data: bytes):
    with pytest.raises(StateUnreadable, match="cannot be read"):
        decode_state(data)


def test_bytes_of_another_version_are_named():
    with pytest.raises(StateUnreadable, match=f"has version 99; version {VERSION} is read"):
        decode_state(msgpack.packb((99,)))
