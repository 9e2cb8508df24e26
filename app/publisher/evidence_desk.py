"""EvidenceDesk: uploads evidence from the spool, and hands it out to whoever asks by incident."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from app.errors import EvidenceError
from app.evidence.item import CONTENT_TYPES, Kind
from app.evidence.rows import EvidenceAccounts, EvidenceRow, State
from app.evidence.uploader import EvidenceUploader
from app.publisher.evidence import EvidenceParts
from app.publisher.evidence_answer import EvidenceAnswer
from app.publisher.spool.writer import SpoolWriter

if TYPE_CHECKING:
    from app.evidence.store import ObjectStore

OPEN_PATIENCE_S = 5.0
"""How long a question waits for a spool that is being opened."""


class EvidenceDesk:
    """The asynchronous side of evidence, beside the spool's writer. For one event loop."""

    def __init__(self, spool: SpoolWriter, parts: EvidenceParts) -> None:
        """Wire it; without a store evidence stays in the spool."""
        self._spool = spool
        self._keeper, self._folder, self._store = parts.keeper, parts.folder, parts.store
        self._uploader = EvidenceUploader(parts.store, self, parts.folder) if parts.store is not None else None

    @property
    def trouble(self) -> str:
        """Why evidence cannot be stored now; empty while it can."""
        return self._uploader.trouble if self._uploader is not None else ""

    def start(self) -> None:
        """Begin to upload."""
        if self._uploader is not None:
            self._uploader.start()

    async def close(self) -> None:
        """Stop; what is not stored stays in the spool."""
        if self._uploader is not None:
            await self._uploader.close()

    async def accounts(self) -> EvidenceAccounts:
        """Return the ledger.

        Raises:
            DeliveryUnavailable: the spool is not open.
        """
        await self._spool.ready(OPEN_PATIENCE_S)
        return await self._spool.read(self._keeper.accounts)

    async def find(self, anomaly_id: str, kind: Kind) -> EvidenceAnswer | None:
        """Return the evidence of an incident; ``None`` where it has none of the kind.

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
            return await self._stored_answer(self._store, row.key, content_type)
        return EvidenceAnswer(content_type, data=data, reason="" if data is not None else "it is gone")

    async def _stored_answer(self, store: ObjectStore, key: str, content_type: str) -> EvidenceAnswer:
        try:
            if (url := await store.signed_url(key)) is not None:
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
