"""An evidence spool with a database of its own, and pictures of the simulated street as they are judged."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from app.core.event import DetectedObject
from app.evidence.folder import EvidenceFolder
from app.evidence.item import Kind
from app.evidence.keeper import EvidenceKeeper, Incident, KeeperOptions
from app.evidence.pictures import JudgedPicture
from app.evidence.rows import EVIDENCE_INDEX, EVIDENCE_TABLES, EvidenceAccounts, EvidenceRow
from app.simulation.spec import StreetSpec
from app.simulation.sprites import LABELS
from app.simulation.street import Street
from tests.support.waiting import wait_for

SECOND = 1_000_000_000
START_NS = 1_767_000_000 * SECOND
"""Capture time of the first picture; 2025-12-29, 09:20 UTC."""


class EvidenceSpool:
    """What the publisher's spool is to the keeper: a database with transactions. It is the uploader's backlog, too."""

    def __init__(self, root: Path, options: KeeperOptions | None = None, **more: object) -> None:
        self.folder = EvidenceFolder(root / "evidence")
        self.database = sqlite3.connect(root / "spool.db", isolation_level=None, check_same_thread=False)
        self.database.execute("PRAGMA journal_mode = WAL")
        if not self.database.execute("SELECT name FROM sqlite_master WHERE name = 'evidence'").fetchone():
            self.database.executescript(f"BEGIN; {EVIDENCE_TABLES} {EVIDENCE_INDEX} COMMIT;")
        self.keeper = EvidenceKeeper(self.folder, options or KeeperOptions(), **more)  # type: ignore[arg-type]
        with self.transaction():
            self.keeper.recover(self.database, time.time_ns())

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        self.database.execute("BEGIN IMMEDIATE")
        try:
            yield self.database
            self.database.execute("COMMIT")
        except BaseException:
            self.database.execute("ROLLBACK")
            self.keeper.rolled_back()
            raise
        self.keeper.committed()

    def begin(
        self, picture: JudgedPicture | None, *kinds: Kind, camera_id: str = "gate", anomaly_id: str | None = None
    ) -> str:
        """Commit an incident that begins with a picture; return its id."""
        incident = Incident(anomaly_id or str(uuid.uuid4()), camera_id, START_NS, kinds or (Kind.SNAPSHOT,))
        with self.transaction() as database:
            self.keeper.begin(database, incident, picture, time.time_ns())
        return incident.anomaly_id

    def tend(self) -> None:
        with self.transaction() as database:
            self.keeper.tend(database, time.time_ns())

    def row(self, anomaly_id: str, kind: Kind = Kind.SNAPSHOT) -> EvidenceRow:
        found = self.keeper.find(self.database, anomaly_id, kind)
        assert found is not None
        return found

    def until(self, anomaly_id: str, state: str, kind: Kind = Kind.CLIP) -> EvidenceRow:
        """Tend until a piece of evidence is in a state; return its row."""

        def reached() -> bool:
            self.tend()
            return self.row(anomaly_id, kind).state == state

        wait_for(reached, 30, f"the {kind} is {state}")
        return self.row(anomaly_id, kind)

    @property
    def accounts(self) -> EvidenceAccounts:
        found = self.keeper.accounts(self.database)
        assert found.balanced, found
        return found

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.folder.path("x").parent).iterdir())

    def close(self) -> None:
        self.keeper.close()
        self.database.close()

    # The uploader's side.

    async def waiting(self, limit: int) -> Sequence[EvidenceRow]:
        return self.keeper.waiting(self.database, limit)

    async def stored(self, keys: Collection[str]) -> None:
        with self.transaction() as database:
            self.keeper.stored(database, keys)

    async def refused(self, key: str, reason: str) -> None:
        with self.transaction() as database:
            self.keeper.refused(database, key, reason)

    async def lacking(self, key: str) -> None:
        with self.transaction() as database:
            self.keeper.lacking(database, key)


def street_pictures(
    count: int, *, fps: float = 5.0, camera_id: str = "gate", width: int = 640, height: int = 360, objects: int = 8
) -> Iterator[JudgedPicture]:
    """Yield pictures of the simulated street with its truth as what was found in them."""
    street = Street(StreetSpec(seed=7, fps=25, width=width, height=height, objects=objects))
    for number in range(count):
        index = round(number * 25 / fps)
        frame = street.frame(index)
        truth = frame.truth
        found = tuple(
            DetectedObject(LABELS[class_id], class_id, 0.9, (x1, y1, x2 - x1, y2 - y1), identity + 1)
            for (x1, y1, x2, y2), class_id, identity in zip(
                truth.boxes.tolist(), truth.class_ids.tolist(), truth.identities.tolist(), strict=True
            )
        )
        jpeg = bytes(cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1])
        at_ns = START_NS + round(number / fps * SECOND)
        yield JudgedPicture(camera_id, at_ns, width, height, found, jpeg)


def picture_at(at_s: float, camera_id: str = "gate", jpeg: bytes = b"") -> JudgedPicture:
    """Return a small picture captured so many seconds after the first, in which a car was found."""
    car = DetectedObject("car", 1, 0.9, (2.0, 2.0, 8.0, 6.0), 7)
    return JudgedPicture(camera_id, START_NS + round(at_s * SECOND), 32, 24, (car,), jpeg or grey_jpeg())


@functools.cache
def grey_jpeg(level: int = 128) -> bytes:
    """Return a small JPEG of one grey."""
    return bytes(cv2.imencode(".jpg", np.full((24, 32, 3), level, np.uint8))[1])


def persons_hidden(judged: JudgedPicture, shown: bytes) -> int:
    """Check that nothing finer than a few blocks is left of the persons found in a picture; return how many there are.

    A person's pixels are compared with those that were judged: what makes it up, its deviation from the means of six
    blocks a side, is to be gone. Where the picture is as good as flat there was nothing to see.
    """
    before, after = (
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE).astype(float)
        for data in (judged.image, shown)
    )
    persons = 0
    for one in judged.objects:
        x, y, wide, high = (round(side) for side in one.bbox)
        part, left = before[y : y + high, x : x + wide], after[y : y + high, x : x + wide]
        if one.label != "person" or not part.size:
            continue
        persons += 1
        block = max(1, round(max(part.shape) / 6))
        detail = part - cv2.blur(part, (block, block))
        seen = float(np.sqrt((detail**2).mean()))
        changed = float(np.sqrt(((part - left) ** 2).mean()))
        assert seen < 4 or changed > 0.6 * seen, (one, seen, changed)
    return persons
