"""EvidenceDesk: uploads evidence from the spool, and hands it out to whoever asks by incident."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from app.errors import DeliveryUnavailable, EvidenceError
from app.evidence.item import CONTENT_TYPES, Kind
from app.evidence.rows import EvidenceAccounts, EvidenceRow, State
from app.evidence.uploader import EvidenceUploader
from app.publisher.evidence import EvidenceParts
from app.publisher.evidence_answer import EvidenceAnswer
from app.publisher.evidence_telemetry import EvidenceTelemetry
from app.publisher.snapshot import EvidenceSnapshot
from app.publisher.spool.writer import SpoolWriter
from app.telemetry.trouble_log import TroubleLog

if TYPE_CHECKING:
    from app.evidence.store import ObjectStore

logger = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often the ledger is read, and the metrics are set."""
OPEN_PATIENCE_S = 5.0
"""How long a question waits for a spool that is being opened."""


class EvidenceDesk:
    """The asynchronous side of evidence, beside the spool's writer. For one event loop."""

    def __init__(
        self,
        spool: SpoolWriter,
        parts: EvidenceParts,
        telemetry: EvidenceTelemetry | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Wire it; without a store evidence stays in the spool.

        Args:
            spool: has its rows.
            parts: keep and store it.
            telemetry: is told of the ledger each second; ``None``: nobody is.
            wall_ns: nanoseconds since 1970 UTC.
        """
        self._spool = spool
        self._telemetry = telemetry
        self._wall_ns = wall_ns
        self._snapshot = EvidenceSnapshot()
        self._looking: asyncio.Task[None] | None = None
        self._no_metrics = TroubleLog(logger, "the metrics of evidence cannot be set", level=logging.ERROR)
        self._keeper, self._folder, self._store = parts.keeper, parts.folder, parts.store
        self._uploader = EvidenceUploader(parts.store, self, parts.folder) if parts.store is not None else None

    @property
    def trouble(self) -> str:
        """Why evidence is not stored, or was lost in the last minutes, in a sentence each; empty: neither."""
        failure = self._uploader.trouble if self._uploader is not None else ""
        stuck = f"pictures and clips of incidents are not stored: {failure}" if failure else ""
        return "; ".join(filter(None, (stuck, self._keeper.trouble)))

    @property
    def snapshot(self) -> EvidenceSnapshot:
        """The ledger as it was read last, and the trouble of now."""
        return replace(self._snapshot, trouble=self.trouble)

    def start(self) -> None:
        """Begin to upload, and to read the ledger."""
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())
        if self._uploader is not None:
            self._uploader.start()

    async def close(self) -> None:
        """Stop; what is not stored stays in the spool."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        if self._uploader is not None:
            await self._uploader.close()

    async def _look(self) -> None:
        """Read the ledger every second, and set the metrics."""
        while True:
            try:
                accounts = await self._spool.read(self._keeper.accounts)
                oldest_ns = accounts.oldest_at_ns
                oldest_s = 0.0 if oldest_ns is None else max(0.0, (self._wall_ns() - oldest_ns) / 1e9)
                self._snapshot = EvidenceSnapshot(accounts, oldest_s)
                if self._telemetry is not None:
                    failing = self._uploader is not None and bool(self._uploader.trouble)
                    self._telemetry.evidence(accounts, oldest_s, failing)
            except DeliveryUnavailable:
                pass  # the spool is not open: reported by whoever had something to write
            except Exception as error:  # noqa: BLE001 - metrics are no reason to stop
                self._no_metrics.report(type(error).__name__, error=error)
            await asyncio.sleep(LOOK_S)

    async def accounts(self) -> EvidenceAccounts:
        """Return the ledger.

        Raises:
            DeliveryUnavailable: the spool is not open.
        """
        await self._spool.ready(OPEN_PATIENCE_S)
        return await self._spool.read(self._keeper.accounts)

    async def find(self, anomaly_id: str, kind: Kind, *, signed: bool = True) -> EvidenceAnswer | None:
        """Return the evidence of an incident; ``None`` where it has none of the kind.

        Args:
            anomaly_id: the incident's.
            kind: which.
            signed: whether a signed address will do for what the store has; else its bytes are read from there.

        Raises:
            DeliveryUnavailable: the spool is not open.
        """
        await self._spool.ready(OPEN_PATIENCE_S)
        row = await self._spool.read(lambda database: self._keeper.find(database, anomaly_id, kind))
        if row is None:
            return None
        content_type = CONTENT_TYPES[kind]
        if row.lost:
            return EvidenceAnswer(content_type, reason=row.reason)
        if row.state is State.RECORDING:
            return EvidenceAnswer(content_type, reason="the clip is still being recorded")
        data = await asyncio.to_thread(self._folder.read, row.key)
        if data is None and self._store is not None:
            return await self._stored_answer(self._store, row.key, content_type, signed)
        return EvidenceAnswer(content_type, data=data, reason="" if data is not None else "it is gone")

    async def _stored_answer(self, store: ObjectStore, key: str, content_type: str, signed: bool) -> EvidenceAnswer:
        try:
            url = await store.signed_url(key) if signed else None
            if url is not None:
                return EvidenceAnswer(content_type, url=url)
            data = await store.get(key)
        except EvidenceError as error:
            return EvidenceAnswer(content_type, reason=str(error))
        return EvidenceAnswer(content_type, data=data, reason="" if data is not None else "the store has it no more")

    # The uploader's side.

    async def waiting(self, limit: int) -> Sequence[EvidenceRow]:
        """Return what waits for the store."""
        return await self._spool.read(lambda database: self._keeper.waiting(database, limit))

    async def stored(self, keys: Collection[str]) -> None:
        """Record that the store has some evidence."""
        await self._spool.change(lambda database: self._keeper.stored(database, keys))

    async def refused(self, key: str, reason: str) -> None:
        """Record that some evidence cannot be stored, ever."""
        await self._spool.change(lambda database: self._keeper.refused(database, key, reason))

    async def lacking(self, key: str) -> None:
        """Record that the bytes of some evidence are gone."""
        await self._spool.change(lambda database: self._keeper.lacking(database, key))
