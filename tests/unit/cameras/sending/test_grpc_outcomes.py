from __future__ import annotations

import grpc
import pytest

from app.cameras.ledger import DropReason
from app.cameras.outcome import Fate, Outcome
from app.cameras.sending.grpc_outcomes import FailedCall, outcome_of
from app.rpc.codes import LOST_ANSWERS


def call(code: str, details: str, **known: bool) -> Outcome:
    flags = {"answered": False, "expired": False, "was_ready": True, "is_ready": True, **known}
    return outcome_of(FailedCall(code=grpc.StatusCode[code], details=details, **flags))


def test_words_nobody_foresaw_on_a_connection_that_is_gone_are_in_doubt():
    assert call("UNAVAILABLE", "something new", is_ready=False).fate is Fate.UNCONFIRMED
    assert call("UNAVAILABLE", "something new", is_ready=True).reason is DropReason.UNAVAILABLE


def test_trailing_metadata_prove_that_a_server_answered():
    assert call("UNAVAILABLE", "draining", is_ready=False, answered=True).reason is DropReason.UNAVAILABLE
    late = call("DEADLINE_EXCEEDED", "Deadline Exceeded", expired=True, answered=True)
    assert late.reason is DropReason.DEADLINE


@pytest.mark.parametrize(
    ("details", "expired", "fate"),
    [
        ("Deadline Exceeded", True, Fate.UNCONFIRMED),
        ("Deadline Exceeded", False, Fate.DROPPED),
        ("the budget of 200 ms ran out", True, Fate.DROPPED),
    ],
)
def test_the_clients_own_deadline_is_distinguished_from_the_servers(details: str, expired: bool, fate: Fate):
    assert call("DEADLINE_EXCEEDED", details, expired=expired).fate is fate


@pytest.mark.parametrize(("status", "fate"), [(503, Fate.DROPPED), (502, Fate.UNCONFIRMED), (504, Fate.UNCONFIRMED)])
def test_a_proxy_without_a_server_is_distinguished_from_one_that_lost_it(status: int, fate: Fate):
    assert call("UNAVAILABLE", f"Received http2 header with status: {status}").fate is fate


def test_a_stream_reset_below_the_service_is_in_doubt_whatever_its_code():
    assert call("INTERNAL", "RST_STREAM with error code 2").fate is Fate.UNCONFIRMED
    assert call("INTERNAL", "the model failed on this image").reason is DropReason.REJECTED


def test_a_message_over_grpcs_own_limit_is_no_overload():
    details = "SERVER: Received message larger than max (20 vs. 4)"
    assert call("RESOURCE_EXHAUSTED", details).reason is DropReason.REJECTED


@pytest.mark.parametrize("details", sorted(LOST_ANSWERS))
def test_a_frame_whose_fate_the_service_itself_does_not_know_is_in_doubt(details: str):
    assert call("UNAVAILABLE", details, answered=True).fate is Fate.UNCONFIRMED
