"""PictureRequests: which cameras' pictures the publisher wants, by its receipts: only those cost the way there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

from app.publisher import Receipt
from app.rpc.request import DetectionRequest

MAX_CAMERAS = 10_000
"""Cameras that are remembered; of one that was forgotten the next receipt says it again."""


class PictureRequests:
    """Hands a frame's picture over where the receipt of an earlier frame asked for it. For one event loop."""

    def __init__(self, anonymise: Collection[str] = ()) -> None:
        """Begin without any; ``anonymise`` are the labels that are to be hidden in pictures."""
        self._anonymise = frozenset(anonymise)
        self._wanted: OrderedDict[str, None] = OrderedDict()

    def note(self, camera_id: str, receipt: Receipt) -> None:
        """Record whether the next pictures of a camera are wanted; the receipt of a repeated event does not say."""
        if receipt.repeated:
            return
        if not receipt.pictured:
            self._wanted.pop(camera_id, None)
            return
        self._wanted[camera_id] = None
        self._wanted.move_to_end(camera_id)
        while len(self._wanted) > MAX_CAMERAS:
            self._wanted.popitem(last=False)

    def picture_of(self, request: DetectionRequest) -> bytes | None:
        """Return a frame's picture; ``None``: it is not wanted.

        Nor is it handed over where the request has a label left out that is to be hidden: nothing would find it.
        """
        if request.camera_id not in self._wanted:
            return None
        looked_for = not request.wanted.classes or self._anonymise.issubset(request.wanted.classes)
        return request.image if looked_for else None
