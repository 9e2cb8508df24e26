"""The uploader over a store whose answers are scripted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from app.errors import StoreUnavailable
from app.evidence.uploader import AT_ONCE, LONGEST_PAUSE_S, LOOK_S, EvidenceUploader
from tests.support.evidence import EvidenceSpool, picture_at
from tests.support.waiting import until


class ScriptedStore:
    """Stores, or fails, as a script of booleans says; after its end everything is stored."""

    def __init__(self, fails: Iterable[bool] = (), held: frozenset[int] = frozenset()) -> None:
        self._fails: Iterator[bool] = iter(fails)
        self._held = held
        self.release = asyncio.Event()
        self.calls = 0
        self.at_once: list[int] = []
        """Uploads under way at each call."""
        self._under_way = 0

    async def put(self, key: str, data: bytes) -> None:
        number, self.calls = self.calls, self.calls + 1
        self._under_way += 1
        self.at_once.append(self._under_way)
        try:
            if number in self._held:
                await self.release.wait()
            await asyncio.sleep(0)
            if next(self._fails, False):
                raise StoreUnavailable("the store answers 503")
        finally:
            self._under_way -= 1


class Pauses:
    """Sleeps for no time, and keeps for how long it was asked."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0.001)

    @property
    def of_failures(self) -> list[float]:
        return [one for one in self.seconds if one != LOOK_S]


def uploader_of(spool: EvidenceSpool, store: ScriptedStore, pauses: Pauses) -> EvidenceUploader:
    return EvidenceUploader(store, spool, spool.folder, sleep=pauses)


@pytest.fixture
def spool(tmp_path: Path) -> EvidenceSpool:
    made = EvidenceSpool(tmp_path)
    for number in range(40):
        made.begin(picture_at(number / 5))
    return made


async def test_one_upload_that_takes_long_holds_up_no_other(spool: EvidenceSpool):
    store = ScriptedStore(held=frozenset({0}))
    uploader = uploader_of(spool, store, Pauses())
    uploader.start()
    await until(lambda: spool.accounts.stored == 39)
    store.release.set()
    await until(lambda: spool.accounts.stored == 40)
    await uploader.close()
    assert max(store.at_once) == AT_ONCE
    assert store.calls == 40, "none is uploaded twice"


async def test_errors_among_answers_make_no_pause(spool: EvidenceSpool):
    pauses, store = Pauses(), ScriptedStore([number % 3 == 0 for number in range(200)])
    uploader = uploader_of(spool, store, pauses)
    uploader.start()
    await until(lambda: spool.accounts.stored == 40)
    await uploader.close()
    assert pauses.of_failures == []
    assert uploader.trouble == ""


async def test_a_store_that_fails_is_asked_for_one_piece_at_a_time_with_pauses(spool: EvidenceSpool):
    pauses, store = Pauses(), ScriptedStore([True] * 60)
    uploader = uploader_of(spool, store, pauses)
    uploader.start()
    await until(lambda: store.calls > 40)
    assert uploader.trouble == "the store answers 503"
    assert set(store.at_once[30:40]) == {1}
    assert max(pauses.of_failures) <= LONGEST_PAUSE_S
    await until(lambda: spool.accounts.stored == 40)
    assert uploader.trouble == ""
    assert max(store.at_once) == AT_ONCE, "and for several again once it answers"
    await uploader.close()
