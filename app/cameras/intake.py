"""FrameIntake: takes the sampled frames from the capture thread, numbers them and leaves the newest to be sent."""

from __future__ import annotations

from collections import deque

from app.cameras.accounts import Accounts
from app.cameras.frame import SampledFrame
from app.cameras.ledger import DropReason
from app.cameras.mailbox import Mailbox
from app.cameras.rate import per_second
from app.cameras.sending.flow_control import FlowControl
from app.cameras.sources import RawFrame


class FrameIntake:
    """Counts each sampled frame in the ledger and puts it into the mailbox; the frame it displaces is dropped.

    Used by the capture thread, but for ``fps``, ``epoch`` and ``advance``.
    """

    def __init__(
        self, camera_id: str, epoch: int, *, mailbox: Mailbox[SampledFrame], accounts: Accounts, flow: FlowControl
    ) -> None:
        """Wire it.

        Args:
            camera_id: of the frames.
            epoch: the life of the camera; it names the frames, and orders them until :meth:`advance`.
            mailbox: holds the newest frame.
            accounts: counts sampled and dropped frames.
            flow: knows which frames the camera held back.
        """
        self._camera_id = camera_id
        self._life = epoch
        self._epoch = epoch
        self._mailbox = mailbox
        self._accounts = accounts
        self._flow = flow
        self._sequence = 0
        self._sampled_at: deque[float] = deque(maxlen=64)

    @property
    def epoch(self) -> int:
        """The epoch of the frames that are sampled now; their sequence numbers rise within it."""
        return self._epoch

    def advance(self, epoch: int) -> None:
        """Order the frames sampled from now on by a higher epoch; a lower one changes nothing."""
        self._epoch = max(self._epoch, epoch)

    def put(self, index: int, raw: RawFrame) -> None:
        """Take a sampled frame; ``index`` counts the frames of the source."""
        self._accounts.sample()
        self._sequence += 1
        self._sampled_at.append(raw.captured.monotonic)
        if raw.damaged:
            self._accounts.drop(DropReason.DAMAGED)
            return
        sampled = SampledFrame(self._camera_id, f"{self._life}-{index}", raw, self._epoch, self._sequence)
        displaced = self._mailbox.put(sampled)
        if displaced is sampled:
            self._accounts.drop(DropReason.SHUTDOWN)
        elif displaced is not None:
            self._accounts.drop(DropReason.SUPERSEDED, held_back=self._flow.held_back(displaced))

    def finish(self) -> None:
        """Take no more frames; the one that waits is still sent."""
        self._mailbox.finish()

    def fps(self, now: float) -> float:
        """Return the sampled frames per second over the last seconds; ``now`` is in monotonic seconds."""
        return per_second(tuple(self._sampled_at), now)
