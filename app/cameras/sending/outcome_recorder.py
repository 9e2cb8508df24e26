"""OutcomeRecorder: what became of a camera's frames, recorded in its ledger, its frame history and its log."""

from __future__ import annotations

import logging
from collections.abc import Callable

from app.cameras.accounts import Accounts
from app.cameras.frame import EncodedFrame
from app.cameras.history import FrameHistory
from app.cameras.ledger import DropReason
from app.cameras.outcome import Fate, Outcome
from app.cameras.sending.service_watch import ServiceWatch
from app.cameras.status import Blocked
from app.telemetry.trouble_log import TroubleLog

_log = logging.getLogger(__name__)

_PERSISTENT = frozenset({DropReason.REJECTED, DropReason.ENCODE_ERROR})
"""A frame dropped for one of these is seldom the only one."""
_OCCASIONAL = frozenset({DropReason.DEADLINE, DropReason.OVERLOADED, DropReason.UNAVAILABLE})
"""These are logged only once they block the camera: now and then they are how the service keeps up, and for a moment it
is away where a part of it is replaced, or where the whole system stops and Serve ends its proxies first."""


class OutcomeRecorder:
    """Records the outcome of every frame that was taken to be sent; used on one event loop."""

    def __init__(
        self,
        camera_id: str,
        *,
        accounts: Accounts,
        history: FrameHistory,
        watch: ServiceWatch,
        monotonic: Callable[[], float],
    ) -> None:
        """Wire it.

        Args:
            camera_id: for the log.
            accounts: settles each frame in the ledger.
            history: keeps the frames that were answered.
            watch: judges the service by the outcomes.
            monotonic: seconds.
        """
        self._camera_id = camera_id
        self._accounts = accounts
        self._history = history
        self._watch = watch
        self._monotonic = monotonic
        self.committed_epoch: int | None = None
        """The newer epoch for which the service refused a frame, none accepted since; ``None``: there is none."""
        self._drops = self._trouble_log("frames are dropped", logging.WARNING)
        self._faults = self._trouble_log("internal error", logging.ERROR)

    @property
    def blocked(self) -> Blocked | None:
        """What has kept frames from becoming events for a while; ``None`` where nothing does."""
        return self._watch.blocked

    def settle(self, outcome: Outcome) -> None:
        """Settle a frame in the ledger; exactly once for each frame."""
        self._accounts.settle(outcome)

    def record_answer(self, frame: EncodedFrame, outcome: Outcome, now: float) -> None:
        """Record a frame that was sent, answered at ``now`` monotonic seconds, in the history."""
        self._history.record(frame, outcome, now)

    def report(self, outcome: Outcome) -> None:
        """Judge the service by a frame's outcome, and log dropped frames or the end of that."""
        self._watch.record(outcome)
        if outcome.fate is Fate.ACCEPTED or outcome.committed_epoch is not None:
            self.committed_epoch = outcome.committed_epoch
        if outcome.fate is Fate.ACCEPTED:
            self._drops.resolve(f"camera {self._camera_id}: frames are accepted again")
        elif outcome.reason is not None and (
            outcome.reason in _PERSISTENT or (outcome.reason in _OCCASIONAL and self.blocked)
        ):
            reason = outcome.reason.value
            self._drops.report(f"{outcome.detail} ({reason})" if outcome.detail else reason, reason=reason)

    def report_fault(self, fault: Exception, when: str) -> None:
        """Log an exception that no stage should raise, with its stack; ``when`` says what was being done."""
        self._faults.report(f"{type(fault).__name__} {when}", error=fault)

    def _trouble_log(self, subject: str, level: int) -> TroubleLog:
        return TroubleLog(
            _log,
            f"camera {self._camera_id}: {subject}",
            unit="frames",
            camera_id=self._camera_id,
            level=level,
            monotonic=self._monotonic,
        )
