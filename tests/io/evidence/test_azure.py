"""The store's side of evidence against Azurite, Microsoft's stand-in for Azure Blob Storage."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import httpx
import pytest

from app.core.ports import free_port
from app.errors import StoreRefused
from app.evidence.store import ObjectStore
from app.settings.evidence import EvidenceSettings
from tests.support.waiting import wait_for

AZURITE = shutil.which("azurite-blob")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(AZURITE is None, reason="no azurite-blob: npm install -g azurite@3.37.0"),
]
ACCOUNT = "devstoreaccount1"
KEY = base64.b64decode("Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==")
"""Azurite's own, which is the same everywhere."""


@pytest.fixture(scope="module")
def azurite() -> Iterator[None]:
    """Run Azurite with the container ``evidence``, and name it in the environment, as its user does."""
    assert AZURITE is not None
    port = free_port()
    names = {"AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": f"http://127.0.0.1:{port}"}
    command = [AZURITE, "--inMemoryPersistence", "--skipApiVersionCheck", "--blobPort", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        os.environ.update(names)
        try:
            wait_for(lambda: _listens(port), 90, "Azurite")
            _create_container(f"http://127.0.0.1:{port}", "evidence")
            yield
        finally:
            for name in names:
                del os.environ[name]
            process.terminate()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _create_container(address: str, name: str) -> None:
    """Create a container by Shared Key (learn.microsoft.com: Authorize with Shared Key)."""
    now = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = {"x-ms-date": now, "x-ms-version": "2021-08-06"}
    said = "PUT" + 12 * "\n" + "".join(f"{key}:{value}\n" for key, value in headers.items())
    said += f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    signature = base64.b64encode(hmac.new(KEY, said.encode(), hashlib.sha256).digest()).decode()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{signature}"
    answer = httpx.put(f"{address}/{ACCOUNT}/{name}?restype=container", headers=headers, timeout=30)
    assert answer.status_code == 201, answer.text


async def test_evidence_is_stored_read_and_found_by_a_signed_address(azurite: None):
    store = ObjectStore(EvidenceSettings(url="az://evidence/north"))
    await store.probe()
    await store.put("gate/2026/01/10/5f7c.jpg", b"\xff\xd8 picture")
    assert await store.get("gate/2026/01/10/5f7c.jpg") == b"\xff\xd8 picture"
    assert await store.get("gate/2026/01/10/none.jpg") is None
    signed = await store.signed_url("gate/2026/01/10/5f7c.jpg")
    assert signed is not None
    answer = httpx.get(signed, timeout=30)
    assert (answer.content, answer.headers["content-type"]) == (b"\xff\xd8 picture", "image/jpeg")


async def test_a_missing_container_is_named(azurite: None):
    with pytest.raises(StoreRefused, match="the store has no container 'missing'"):
        await ObjectStore(EvidenceSettings(url="az://missing/north")).probe()
