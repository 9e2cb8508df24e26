"""The store's side of evidence, against moto's S3 over HTTP."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.cli.checks import State, check_evidence
from app.errors import EvidenceRefused, StoreRefused, StoreUnavailable
from app.evidence.item import Kind
from app.evidence.store import ObjectStore, translated
from app.evidence.uploader import EvidenceUploader
from app.settings.evidence import EvidenceSettings, StoreUrl
from tests.support.evidence import EvidenceSpool, picture_at
from tests.support.object_store import FaultyProxy, Inspector, moto, settings_of
from tests.support.paths import ROOT
from tests.support.waiting import until


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with moto() as address:
        yield address


@pytest.fixture
def proxy(store: str) -> Iterator[FaultyProxy]:
    with FaultyProxy(store) as faulty:
        yield faulty


def links(spool: EvidenceSpool, incidents: list[str], settings: EvidenceSettings) -> list[str]:
    assert settings.url is not None
    return [settings.url.link(spool.row(one).key) for one in incidents]


async def test_what_is_stored_is_found_under_its_address_and_by_a_signed_one(store: str):
    objects = ObjectStore(settings_of(store))
    await objects.put("gate/2026/01/10/5f7c.jpg", b"\xff\xd8 picture")
    assert Inspector(store).read("s3://evidence/north/gate/2026/01/10/5f7c.jpg") == b"\xff\xd8 picture"
    assert await objects.get("gate/2026/01/10/5f7c.jpg") == b"\xff\xd8 picture"
    assert await objects.get("gate/2026/01/10/none.jpg") is None
    signed = await objects.signed_url("gate/2026/01/10/5f7c.jpg")
    assert signed is not None
    answer = httpx.get(signed)
    assert (answer.content, answer.headers["content-type"]) == (b"\xff\xd8 picture", "image/jpeg")


async def test_a_folder_is_a_store_without_signed_addresses(tmp_path: Path):
    objects = ObjectStore(EvidenceSettings(url=f"file://{tmp_path}/evidence"))
    await objects.probe()
    await objects.put("gate/2026/01/10/5f7c.mp4", b"film")
    assert (tmp_path / "evidence/gate/2026/01/10/5f7c.mp4").read_bytes() == b"film"
    assert await objects.signed_url("gate/2026/01/10/5f7c.mp4") is None
    assert await objects.get("gate/2026/01/10/5f7c.mp4") == b"film"


def test_doctor_stores_and_deletes_an_object_and_says_what_is_wrong(store: str, proxy: FaultyProxy):
    (found,) = check_evidence(settings_of(store))
    assert (found.state, found.detail) == (
        State.PASSED,
        "s3://evidence/north takes evidence: an object was stored and deleted",
    )
    (missing,) = check_evidence(settings_of(store, bucket="missing"))
    assert missing.state is State.FAILED
    assert missing.detail == "the store has no bucket 'missing': create it, or correct SIGHTLINE_EVIDENCE_URL"
    proxy.error_share = 1.0
    (failing,) = check_evidence(settings_of(proxy.address))
    assert failing.detail.startswith("the store of s3://evidence/north answers 503")
    (away,) = check_evidence(settings_of("http://127.0.0.1:9"))
    assert away.state is State.FAILED
    assert "cannot be reached" in away.detail
    assert not list(check_evidence(EvidenceSettings()))


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("403 <Code>InvalidAccessKeyId</Code>", StoreRefused, "refuses the key (InvalidAccessKeyId)"),
        ("403 <Code>SignatureDoesNotMatch</Code>", StoreRefused, "refuses the key (SignatureDoesNotMatch)"),
        ("status 403: <Code>AccessDenied</Code>", StoreRefused, "may not write to bucket 'bucket' (AccessDenied)"),
        ("status 401", StoreRefused, "refuses the account"),
        ("<Code>NoSuchBucket</Code>", StoreRefused, "has no bucket 'bucket'"),
        ("<Code>EntityTooLarge</Code>", EvidenceRefused, "does not take it (EntityTooLarge)"),
        ("status code: 503 <Code>SlowDown</Code>", StoreUnavailable, "answers 503 (SlowDown)"),
    ],
)
def test_what_a_store_answers_is_one_sentence_that_says_what_to_mend(text: str, kind: type[Exception], said: str):
    error = translated(ValueError(text), StoreUrl.parse("s3://bucket/p"))
    assert type(error) is kind
    assert said in str(error)
    assert "\n" not in str(error)


async def test_through_an_outage_and_errors_every_address_resolves_and_the_ledger_holds(
    tmp_path: Path, proxy: FaultyProxy, store: str
):
    settings = settings_of(proxy.address)
    spool = EvidenceSpool(tmp_path)
    proxy.away = True
    uploader = EvidenceUploader(ObjectStore(settings), spool, spool.folder)
    uploader.start()
    incidents = [spool.begin(picture_at(number)) for number in range(20)]
    await until(lambda: "cannot be reached" in uploader.trouble)
    assert spool.accounts.spooled == 20
    proxy.away, proxy.error_share = False, 0.3
    await until(lambda: spool.accounts.stored == 20)
    assert uploader.trouble == ""
    await uploader.close()
    inspector = Inspector(store)
    assert all(inspector.read(link) == picture_at(0).image for link in links(spool, incidents, settings))
    assert spool.files() == []


async def test_a_store_that_is_slow_or_hangs_is_given_up_in_seconds_and_tried_again(tmp_path: Path, proxy: FaultyProxy):
    spool = EvidenceSpool(tmp_path)
    proxy.delay_s = 8
    uploader = EvidenceUploader(ObjectStore(settings_of(proxy.address)), spool, spool.folder)
    uploader.start()
    spool.begin(picture_at(0))
    await until(lambda: uploader.trouble == "the store of s3://evidence/north does not answer in time")
    proxy.delay_s = 0.2
    await until(lambda: spool.accounts.stored == 1)
    await uploader.close()


async def test_a_missing_bucket_holds_evidence_until_it_is_there(tmp_path: Path, store: str):
    settings = settings_of(store, bucket="made-later")
    spool = EvidenceSpool(tmp_path)
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0.01)

    uploader = EvidenceUploader(ObjectStore(settings), spool, spool.folder, sleep=sleep)
    uploader.start()
    spool.begin(picture_at(0))
    await until(lambda: "has no bucket 'made-later'" in uploader.trouble)
    httpx.put(f"{store}/made-later")
    await until(lambda: spool.accounts.stored == 1)
    assert 10.0 in pauses
    await uploader.close()


KILLED = """
import asyncio, sys
from pathlib import Path
from app.evidence.store import ObjectStore
from app.evidence.uploader import EvidenceUploader
from tests.support.evidence import EvidenceSpool, picture_at
from tests.support.object_store import settings_of

async def main():
    spool = EvidenceSpool(Path(sys.argv[1]))
    for number in range(20):
        print(spool.begin(picture_at(number)), flush=True)
    uploader = EvidenceUploader(ObjectStore(settings_of(sys.argv[2])), spool, spool.folder)
    uploader.start()
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_what_a_process_was_killed_over_in_mid_upload_is_stored_by_the_next_one(
    tmp_path: Path, proxy: FaultyProxy, store: str
):
    proxy.delay_s = 0.3
    command = [sys.executable, "-c", KILLED, str(tmp_path), proxy.address]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        incidents = [process.stdout.readline().strip() for _ in range(20)]
        await until(lambda: proxy.requests >= 12)
        process.kill()
    settings = settings_of(store)
    spool = EvidenceSpool(tmp_path)
    assert 0 < spool.accounts.spooled <= 20
    began = time.monotonic()
    uploader = EvidenceUploader(ObjectStore(settings), spool, spool.folder)
    uploader.start()
    await until(lambda: spool.accounts.stored == 20)
    assert time.monotonic() - began < 5
    await uploader.close()
    inspector = Inspector(store)
    assert all(inspector.read(link) == picture_at(0).image for link in links(spool, incidents, settings))
    assert spool.files() == []


async def test_bytes_that_are_gone_expire_and_hold_nothing_else_back(tmp_path: Path, store: str):
    spool = EvidenceSpool(tmp_path)
    gone, kept = spool.begin(picture_at(0)), spool.begin(picture_at(1))
    spool.folder.remove(spool.row(gone).key)
    uploader = EvidenceUploader(ObjectStore(settings_of(store)), spool, spool.folder)
    uploader.start()
    await until(lambda: spool.accounts.stored == 1)
    assert (spool.row(gone).reason, spool.row(kept, Kind.SNAPSHOT).lost) == ("its file is gone", False)
    await uploader.close()
