"""What became of a frame: in the ledger, in the history, in the state of the service, in the log."""

from __future__ import annotations

import logging

import pytest

from app.cameras.accounts import Accounts, NullObserver
from app.cameras.history import FrameHistory
from app.cameras.ledger import CameraLedger, DropReason
from app.cameras.outcome import Outcome
from app.cameras.recent_drops import RecentDrops
from app.cameras.sending.outcome_recorder import OutcomeRecorder
from app.cameras.sending.service_watch import ServiceWatch
from app.core.clock import Clock
from app.rpc.sightline.inference.v1 import inference_pb2 as pb

ACCEPTED = Outcome.accepted(pb.DetectResponse())


class Camera:
    """An outcome recorder with what it needs, on a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        clock = Clock(wall_ns=lambda: int(self.now * 1e9), monotonic=lambda: self.now)
        self.ledger = CameraLedger()
        self.recorder = OutcomeRecorder(
            "gate",
            accounts=Accounts(self.ledger, RecentDrops(clock.monotonic), NullObserver()),
            history=FrameHistory(),
            watch=ServiceWatch(clock, 2.0),
            monotonic=clock.monotonic,
        )


@pytest.fixture
def camera() -> Camera:
    return Camera()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_each_outcome_is_settled_in_the_ledger(camera: Camera):
    camera.ledger.sample()
    camera.ledger.sample()
    camera.ledger.sample()
    for outcome in (ACCEPTED, Outcome.unconfirmed(), Outcome.dropped(DropReason.DEADLINE)):
        camera.recorder.settle(outcome)
    counts = camera.ledger.snapshot()
    assert (counts.accepted, counts.unconfirmed, counts.dropped[DropReason.DEADLINE]) == (1, 1, 1)
    assert counts.balanced
    assert counts.in_flight == 0


def test_a_lasting_drop_is_logged_at_once_and_its_end_too(camera: Camera, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        camera.recorder.report(Outcome.dropped(DropReason.REJECTED, "no valid token"))
        camera.recorder.report(Outcome.dropped(DropReason.REJECTED, "no valid token"))
        camera.now += 3
        camera.recorder.report(ACCEPTED)
    assert lines(caplog) == [
        "camera gate: frames are dropped: no valid token (rejected)",
        "camera gate: frames are accepted again after 3 s",
    ]


@pytest.mark.parametrize("reason", [DropReason.OVERLOADED, DropReason.UNAVAILABLE, DropReason.DEADLINE])
def test_an_overload_or_a_service_away_is_logged_only_once_it_blocks_the_camera(
    camera: Camera, caplog: pytest.LogCaptureFixture, reason: DropReason
):
    dropped = Outcome.dropped(reason, "not now")
    with caplog.at_level(logging.INFO):
        camera.recorder.report(dropped)
        assert camera.recorder.blocked is None
        assert lines(caplog) == []
        camera.now += 2
        camera.recorder.report(dropped)
    assert camera.recorder.blocked is not None
    assert lines(caplog) == [f"camera gate: frames are dropped: not now ({reason.value})"]


def test_a_defect_is_logged_with_its_stack(camera: Camera, caplog: pytest.LogCaptureFixture):
    try:
        raise ZeroDivisionError
    except ZeroDivisionError as fault:
        camera.recorder.report_fault(fault, "while a frame was sent")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "camera gate: internal error: ZeroDivisionError while a frame was sent"
    assert record.exc_info is not None
