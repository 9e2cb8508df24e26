"""EvidenceKeeper: the evidence of incidents from the moment they are committed until a store has it.

What is promised (``configs/README.md``, "Evidence"): once the transaction of an incident's event is committed, the
bytes of its snapshot are on the disk, and so is the first picture of its clip: an address in an event leads to
something, whatever dies. Where that cannot be, the row says why, and the event is not held back. In short:

1. ``begin``, within the caller's transaction: write the file and flush it, then insert its row;
2. the caller commits, and says so: files of evidence that the transaction gave up are removed; or it rolls back, and
   the files that were written are removed;
3. ``see``: pictures that follow go to the journals of open clips;
4. ``tend``, each second within a transaction: take in the films that were made, end clips whose camera is silent;
5. at opening ``recover``: a row whose file is gone expires, a file without a row is removed, a clip whose recording was
   cut short is made of what there is.

Used by the one thread that uses the publisher's spool.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from sqlite3 import Connection

from app.core.anonymiser import Anonymiser
from app.errors import EvidenceRefused, ImageError
from app.evidence import rows
from app.evidence.folder import EvidenceFolder
from app.evidence.item import EvidenceItem, Kind
from app.evidence.journal import record_of
from app.evidence.losses import Losses
from app.evidence.pictures import MEMORY_BYTES, JudgedPicture, PictureRing, as_jpeg
from app.evidence.recorder import ClipRecorder, OpenClip, anonymised
from app.evidence.rows import EvidenceAccounts, EvidenceRow, State

SILENCE_S = 3.0
"""How long an open clip waits for its camera's next picture."""
IDLE_S = 60.0
"""How long the pictures of a camera of which nothing comes are kept."""
MEMORY_NS = 30 * 86_400 * 10**9
"""How long the addresses of stored evidence are remembered."""
_FORGET_NS = 3_600 * 10**9


@dataclass(frozen=True)
class KeeperOptions:
    """What evidence there is to be; see :class:`app.settings.evidence.EvidenceSettings`."""

    before_s: float = 5.0
    after_s: float = 5.0
    max_s: float = 60.0
    max_bytes: int = 1 << 30
    boxes: bool = False
    anonymise: tuple[str, ...] = ()
    memory_bytes: int = MEMORY_BYTES
    uploads: bool = False
    """Whether there is a store; without one what is given up for room has only aged."""


@dataclass(frozen=True)
class Incident:
    """An incident that begins with a frame."""

    anomaly_id: str
    camera_id: str
    started_at_ns: int
    """As it is published; it may lie before the frame: a rule waits before it says something."""
    kinds: tuple[Kind, ...]


class EvidenceKeeper:
    """Makes, keeps and gives up evidence. See the module's text for the order of calls."""

    def __init__(
        self,
        folder: EvidenceFolder,
        options: KeeperOptions,
        *,
        owns: Callable[[str], bool] = lambda _: True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; :meth:`recover` comes first.

        Args:
            folder: the files, of several shards together.
            options: what evidence there is to be.
            owns: says of a camera whether it is this shard's.
            monotonic: seconds.
        """
        self._folder = folder
        self._owns = owns
        self._options = options
        self._monotonic = monotonic
        self._anonymiser = Anonymiser(options.anonymise)
        self._ring = PictureRing(options.before_s + 1.0, options.memory_bytes)
        self._recorder = ClipRecorder(folder, self._anonymiser, boxes=options.boxes)
        self._open: dict[str, OpenClip] = {}
        """By camera."""
        self._seen: dict[str, float] = {}
        self._written: list[str] = []
        """Keys whose files this transaction wrote."""
        self._opened: list[tuple[OpenClip, list[JudgedPicture]]] = []
        """Clips that this transaction opened, with their earlier pictures."""
        self._given_up: list[str] = []
        """Keys whose files are to be removed once the transaction is committed."""
        self._journals: list[str] = []
        """Keys whose films this transaction took in: their journals are not needed any more."""
        self._forget_at_ns = 0
        self._losses = Losses(uploads=options.uploads, monotonic=monotonic)

    # At opening.

    def recover(self, database: Connection, now_ns: int) -> None:
        """Bring files and rows together after whatever ended the last process; within the caller's transaction.

        Raises:
            OSError: the folder cannot be made or read.
        """
        self._folder.make()
        here = [key for key in self._folder.found() if self._owns(key.split("/", 1)[0])]
        owned = rows.owned(database, here)
        self._given_up += [key for key in here if key not in owned]
        for row in rows.in_state(database, State.SPOOLED):
            if self._folder.size(row.key) is None:
                self._losses.gone(database, row.key)
        for row in rows.in_state(database, State.RECORDING):
            if (size := self._folder.size(row.key)) is None:
                self._losses.gone(database, row.key, "pictures are")
            elif self._folder.path(row.key).is_file():
                rows.end_recording(database, row.key, size)
                self._journals.append(row.key)
            else:
                self._recorder.finish(row.key, row.key.split("/", 1)[0])
        self._forget(database, now_ns)

    # With each frame.

    def see(self, picture: JudgedPicture) -> None:
        """Keep a picture for clips that may come, and add it to the clip that is open."""
        self._seen[picture.camera_id] = now = self._monotonic()
        self._ring.add(picture)
        clip = self._open.get(picture.camera_id)
        if clip is None:
            return
        if picture.captured_at_ns > clip.until_ns:
            self._finish(clip)
        else:
            clip.touched = now
            self._recorder.append(clip.key, picture)

    def begin(
        self, database: Connection, incident: Incident, picture: JudgedPicture | None, now_ns: int
    ) -> Mapping[Kind, str]:
        """Take in the evidence of an incident that begins with a frame; return the keys by kind.

        Never fails for the evidence's sake: what cannot be made or kept is written down as refused.

        Args:
            database: within the caller's transaction.
            incident: which.
            picture: the frame's own; ``None``: it came without one, or may not be shown.
            now_ns: nanoseconds since 1970 UTC.
        """
        keys = {}
        for kind in incident.kinds:
            item = EvidenceItem(incident.anomaly_id, incident.camera_id, kind, incident.started_at_ns)
            found = rows.find(database, incident.anomaly_id, kind)
            if found is not None:
                keys[kind] = found.key  # committed before: after a crash an incident may begin once more
            elif kind is Kind.SNAPSHOT:
                keys[kind] = self._snapshot(database, item, picture, now_ns)
            else:
                keys[kind] = self._clip(database, item, picture, now_ns)
        return keys

    def committed(self) -> None:
        """Do what waited for the commit of the transaction."""
        for key in self._given_up:
            self._folder.remove(key)
        for key in self._journals:
            self._folder.remove_journal(key)
        for clip, earlier in self._opened:
            for picture in earlier:
                self._recorder.append(clip.key, picture)
        self._clear()

    def rolled_back(self) -> None:
        """Undo what was done outside of the transaction that failed."""
        for clip, _ in self._opened:
            if self._open.get(clip.camera_id) is clip:
                del self._open[clip.camera_id]
        for key in self._written:
            self._folder.remove(key)
        self._clear()

    def _clear(self) -> None:
        self._written, self._opened, self._given_up, self._journals = [], [], [], []

    # Each second.

    def tend(self, database: Connection, now_ns: int) -> None:
        """Take in finished films, end clips whose camera is silent, keep to the quota; within a transaction."""
        for ended in self._recorder.ended():
            if ended.bytes:
                rows.end_recording(database, ended.key, ended.bytes)
                self._journals.append(ended.key)
            else:
                self._losses.no_film(database, ended.key, ended.reason)
            if not rows.owned(database, [ended.key]):  # refused now, or given up while its film was made
                self._given_up.append(ended.key)
        now = self._monotonic()
        for clip in list(self._open.values()):
            if now - clip.touched > SILENCE_S:
                self._finish(clip)
        for row in rows.in_state(database, State.RECORDING):
            rows.resize(database, row.key, self._folder.size(row.key) or 0)
        self._make_room(database, 0)
        for camera_id in self._ring.cameras:
            if now - self._seen.get(camera_id, now) > IDLE_S:
                self._ring.forget(camera_id)
                self._seen.pop(camera_id, None)
        self._forget(database, now_ns)

    def stored(self, database: Connection, keys: Collection[str]) -> None:
        """Record that the store has some evidence; within a transaction."""
        for key in keys:
            rows.store(database, key)
        self._given_up += keys

    def refused(self, database: Connection, key: str, reason: str) -> None:
        """Record that some evidence cannot be stored, ever; within a transaction."""
        self._losses.not_stored(database, key, reason)
        self._given_up.append(key)

    def lacking(self, database: Connection, key: str) -> None:
        """Record that the bytes of some evidence are gone; within a transaction."""
        self._losses.gone(database, key)

    def waiting(self, database: Connection, limit: int) -> list[EvidenceRow]:
        """Return what waits for the store, snapshots first."""
        return rows.in_state(database, State.SPOOLED, limit)

    def find(self, database: Connection, anomaly_id: str, kind: Kind) -> EvidenceRow | None:
        """Return the evidence of an incident; ``None`` where it has none of the kind."""
        return rows.find(database, anomaly_id, kind)

    def accounts(self, database: Connection) -> EvidenceAccounts:
        """Return the ledger."""
        return rows.accounts(database)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the pictures in memory."""
        return self._ring.bytes

    @property
    def trouble(self) -> str:
        """What was lost in the last minutes, where someone can do something about it; may be asked from any thread."""
        return self._losses.trouble

    def close(self) -> None:
        """End the threads; open clips are made by whoever opens the spool next."""
        self._recorder.close()

    # Making it.

    def _snapshot(self, database: Connection, item: EvidenceItem, picture: JudgedPicture | None, now_ns: int) -> str:
        if picture is None:
            self._losses.without_picture(database, item, now_ns)
            return item.key
        try:
            data = as_jpeg(anonymised(picture, self._anonymiser).image)
            self._make_room(database, len(data))
            self._written.append(item.key)
            self._folder.write(item.key, data)
        except (EvidenceRefused, ImageError, OSError) as error:
            self._losses.not_taken(database, item, now_ns, error)
            return item.key
        rows.add(database, item, State.SPOOLED, len(data), now_ns)
        return item.key

    def _clip(self, database: Connection, item: EvidenceItem, picture: JudgedPicture | None, now_ns: int) -> str:
        if picture is None:
            self._losses.without_picture(database, item, now_ns)
            return item.key
        if (shared := self._extended(picture)) is not None:
            rows.link(database, item, shared)
            return shared
        try:
            record = record_of(anonymised(picture, self._anonymiser))
            self._make_room(database, len(record))
            self._written.append(item.key)
            self._folder.write_file(self._folder.journal(item.key), record)
        except (EvidenceRefused, ImageError, OSError) as error:
            self._losses.not_taken(database, item, now_ns, error)
            return item.key
        rows.add(database, item, State.RECORDING, len(record), now_ns)
        self._record(item.key, picture)
        return item.key

    def _extended(self, picture: JudgedPicture) -> str | None:
        """Have the open clip of a camera go on for another incident; return its key, or ``None`` where it cannot."""
        clip = self._open.get(picture.camera_id)
        until = picture.captured_at_ns + int(self._options.after_s * 1e9)
        if clip is None or until > clip.limit_ns:
            return None
        clip.until_ns = max(clip.until_ns, until)
        return clip.key

    def _record(self, key: str, first: JudgedPicture) -> None:
        """Open a clip around a picture; a clip of the same camera that is open ends."""
        options, at_ns = self._options, first.captured_at_ns
        if (open_one := self._open.get(first.camera_id)) is not None:
            self._finish(open_one)
        from_ns = at_ns - int(options.before_s * 1e9)
        limit_ns = from_ns + int(options.max_s * 1e9)
        until_ns = min(at_ns + int(options.after_s * 1e9), limit_ns)
        clip = OpenClip(key, first.camera_id, until_ns, limit_ns, self._monotonic())
        earlier = [one for one in self._ring.since(first.camera_id, from_ns) if one.captured_at_ns < at_ns]
        self._open[first.camera_id] = clip
        self._opened.append((clip, earlier))

    def _finish(self, clip: OpenClip) -> None:
        del self._open[clip.camera_id]
        self._recorder.finish(clip.key, clip.camera_id)

    def _make_room(self, database: Connection, needed: int) -> None:
        """Drop evidence until there is room for more: clips before snapshots, the oldest first.

        Raises:
            EvidenceRefused: it is larger than all there may be.
        """
        if needed > self._options.max_bytes:
            raise EvidenceRefused("it is larger than evidence.max_bytes")
        excess = rows.spooled_bytes(database) + needed - self._options.max_bytes
        while excess > 0 and (row := rows.first_to_go(database)) is not None:
            self._losses.given_up(database, row.key)
            self._given_up.append(row.key)
            excess -= row.bytes
            for clip in [one for one in self._open.values() if one.key == row.key]:
                del self._open[clip.camera_id]

    def _forget(self, database: Connection, now_ns: int) -> None:
        if now_ns >= self._forget_at_ns:
            self._forget_at_ns = now_ns + _FORGET_NS
            rows.forget(database, now_ns - MEMORY_NS)
