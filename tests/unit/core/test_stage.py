"""Stages: the one list, which events and answers take their parts of."""

from __future__ import annotations

from dataclasses import fields

from app.cameras import FrameLatency
from app.core.event import StageLatencies
from app.core.stage import ANSWER_STAGES, EVENT_STAGES, Stage


def test_an_event_reports_the_stages_before_it():
    assert tuple(field.name for field in fields(StageLatencies)) == EVENT_STAGES


def test_an_answer_reports_the_stages_until_the_event_is_durable_and_their_total():
    assert tuple(field.name for field in fields(FrameLatency)) == (*ANSWER_STAGES, "total")


def test_stages_are_in_the_order_in_which_a_frame_passes_them():
    assert tuple(map(str, Stage))[: len(ANSWER_STAGES)] == ANSWER_STAGES
