"""ObjectStore: the store of evidence: S3 and what speaks it, Google Cloud Storage, Azure Blob Storage, or a folder.

The one place that uses ``obstore``, and where its errors become ours. Nothing is tried twice here: whoever calls knows
when it is worth it. What the settings do not give, credentials above all, ``obstore`` takes from the environment
variables of each provider, or from the machine's own role.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import obstore
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, LocalStore, S3Store

from app.core.one_line import one_line
from app.errors import EvidenceError, EvidenceRefused, StoreRefused, StoreUnavailable
from app.evidence.item import CONTENT_TYPES, kind_of
from app.settings.evidence import EvidenceSettings, StoreUrl

T = TypeVar("T")

PATIENCE_S = 5.0
"""How long the store may take for a request, and so much longer for each ``BYTES_PER_S`` of it."""
BYTES_PER_S = 100_000
"""The slowest upload that is waited for."""
SIGNED_FOR = timedelta(minutes=15)
"""How long a signed address holds."""
_STATUS = re.compile(r"status(?: code)?:? (\d{3})", re.IGNORECASE)
_CODE = re.compile(r"<Code>(\w+)</Code>")
_REQUEST = re.compile(r"^.*Error performing .* in [\d.]+ ?[mµn]?s - ", re.DOTALL)
_RETRY = {"max_retries": 0, "retry_timeout": timedelta(seconds=60)}


class ObjectStore:
    """One store, by the settings. For one event loop."""

    def __init__(self, settings: EvidenceSettings) -> None:
        """Prepare; nothing is sent yet, and the first request reports a mistake."""
        assert settings.url is not None, "without an address evidence stays in the spool"
        self.url = settings.url
        self._settings = settings
        self._made: Any = None

    async def put(self, key: str, data: bytes) -> None:
        """Store an object, in the place of one that is there.

        Raises:
            EvidenceRefused: the store takes no such object, ever.
            StoreUnavailable: it could not be stored now.
        """
        attributes = None if self.url.scheme == "file" else {"Content-Type": CONTENT_TYPES[kind_of(key)]}
        putting = obstore.put_async(self._store(), self._path(key), data, attributes=attributes, use_multipart=False)
        await self._asked(putting, PATIENCE_S + len(data) / BYTES_PER_S)

    async def get(self, key: str) -> bytes | None:
        """Return an object; ``None`` where it is not there.

        Raises:
            StoreUnavailable: the store does not answer now.
        """
        try:
            return bytes(await asyncio.wait_for(self._read(self._path(key)), 6 * PATIENCE_S))
        except FileNotFoundError:
            return None
        except (exceptions.BaseError, TimeoutError, OSError) as error:
            raise self._translated(error) from None

    async def signed_url(self, key: str) -> str | None:
        """Return an address under which an object can be read for a while; ``None`` for a folder, which has none.

        Raises:
            StoreUnavailable: no address can be signed now.
        """
        if self.url.scheme == "file":
            return None
        signing: Any = obstore.sign_async(self._store(), "GET", self._path(key), SIGNED_FOR)
        return str(await self._asked(signing, PATIENCE_S))

    async def probe(self) -> None:
        """Store and delete a small object, which is what evidence needs but for the deletion.

        Raises:
            StoreRefused: key, rights or bucket are wrong.
            StoreUnavailable: the store does not answer.
        """
        path = self._path(f".sightline-probe-{secrets.token_hex(8)}")
        await self._asked(obstore.put_async(self._store(), path, b"probe", use_multipart=False), PATIENCE_S)
        await self._asked(obstore.delete_async(self._store(), path), PATIENCE_S)

    def _store(self) -> Any:
        """Return the store's client.

        Raises:
            StoreRefused: the settings make none.
        """
        if self._made is None:
            try:
                self._made = _client(self._settings)
            except (exceptions.BaseError, ValueError, OSError) as error:
                raise StoreRefused(f"{self.url} cannot be used: {one_line(error)}") from None
        return self._made

    async def _read(self, path: str) -> Any:
        answer = await obstore.get_async(self._store(), path)
        return await answer.bytes_async()

    def _path(self, key: str) -> str:
        prefix = "" if self.url.scheme == "file" else self.url.prefix
        return f"{prefix}/{key}" if prefix else key

    async def _asked(self, asking: Awaitable[T], patience_s: float) -> T:
        try:
            return await asyncio.wait_for(asking, patience_s)
        except (exceptions.BaseError, TimeoutError, OSError) as error:
            raise self._translated(error) from None

    def _translated(self, error: BaseException) -> EvidenceError:
        return translated(error, self.url)


def translated(error: BaseException, url: StoreUrl) -> EvidenceError:
    """Return an error of the store as ours, in one sentence that says what to mend."""
    text = str(error)
    code = match[1] if (match := _CODE.search(text)) else ""
    status = match[1] if (match := _STATUS.search(text)) else ""
    what = {"s3": "bucket", "gs": "bucket", "az": "container", "file": "folder"}[url.scheme]
    place = f"{what} {url.bucket!r}" if url.bucket else f"{what} {url.prefix!r}"
    if code == "NoSuchBucket" or (isinstance(error, FileNotFoundError) and code != "NoSuchKey"):
        return StoreRefused(f"the store has no {place}: create it, or correct SIGHTLINE_EVIDENCE_URL")
    if code in ("EntityTooLarge", "KeyTooLongError"):
        return EvidenceRefused(f"the store does not take it ({code})")
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"):
        return StoreRefused(f"the store refuses the key ({code}): correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if isinstance(error, exceptions.UnauthenticatedError) or status == "401":
        return StoreRefused(f"the store refuses the account ({code or 'unauthenticated'}): correct the credentials")
    if isinstance(error, exceptions.PermissionDeniedError | PermissionError) or status == "403":
        return StoreRefused(f"the account may not write to {place} ({code or 'permission denied'}): grant it")
    if isinstance(error, TimeoutError):
        return StoreUnavailable(f"the store of {url} does not answer in time")
    if status:
        return StoreUnavailable(f"the store of {url} answers {status}{f' ({code})' if code else ''}")
    return StoreUnavailable(f"the store of {url} cannot be reached: {_cause(text)}")


def _cause(text: str) -> str:
    """Return what an error of ``obstore`` says, without the request and its time, which are others at each try."""
    first = text.split("Debug source:", 1)[0]
    return one_line(_REQUEST.sub("", first) or text, 200)


def _client(settings: EvidenceSettings) -> Any:
    url = settings.url
    assert url is not None
    http: Any = {"connect_timeout": timedelta(seconds=PATIENCE_S), "timeout": timedelta(minutes=10)}
    if url.scheme == "file":
        return LocalStore(Path(url.prefix), mkdir=True)
    if url.scheme == "gs":
        return GCSStore(url.bucket, client_options=http, retry_config=_retry())
    if url.scheme == "az":
        return AzureStore(url.bucket, client_options=http, retry_config=_retry())
    config: Any = {"region": settings.region or "us-east-1"}
    if settings.endpoint_url is not None:
        config["endpoint"] = settings.endpoint_url
        http["allow_http"] = settings.endpoint_url.startswith("http://")
    if settings.access_key_id is not None and settings.secret_access_key is not None:
        config["access_key_id"] = settings.access_key_id
        config["secret_access_key"] = settings.secret_access_key.get_secret_value()
    if settings.session_token is not None:
        config["session_token"] = settings.session_token.get_secret_value()
    return S3Store(url.bucket, config=config, client_options=http, retry_config=_retry())


def _retry() -> Any:
    return dict(_RETRY)
