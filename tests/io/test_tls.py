"""Cameras over ``grpcs://``: to a gRPC server with TLS, and through the nginx configuration that is shipped."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from app.cameras.frame import EncodedFrame
from app.cameras.ledger import DropReason
from app.cameras.outcome import Fate, Outcome
from app.cameras.sending.client import DetectClient
from app.core.ports import free_port
from app.errors import SettingsError
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.settings.connections import TlsSettings
from app.settings.loading import load_settings
from app.settings.service_address import ServiceAddress
from tests.support.cameras import Service
from tests.support.certificates import Authority, Pair
from tests.support.paths import ROOT
from tests.support.system import listening
from tests.support.waiting import wait_for

BUDGET_S = 4.0


def frame(size: int = 1000) -> EncodedFrame:
    return EncodedFrame(
        camera_id="gate",
        frame_id="1",
        epoch=1,
        sequence=1,
        captured_at=datetime.now(UTC),
        captured=0.0,
        jpeg=b"\xff\xd8\xff" + bytes(size),
        source_width=1920,
        source_height=1080,
        encode_ms=1.5,
    )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """An authority that nobody here trusts."""
    return Authority(tmp_path / "theirs")


async def ask(port: int, cafile: Path | None, client: Pair | None = None, size: int = 1000) -> Outcome:
    tls = TlsSettings(
        cafile=cafile, certfile=client.certificate if client else None, keyfile=client.key if client else None
    )
    camera = DetectClient(ServiceAddress(host="127.0.0.1", port=port, secure=True), tls=tls)
    try:
        return await camera.detect(frame(size), BUDGET_S)
    finally:
        await camera.close()


async def refused(port: int, cafile: Path | None, client: Pair | None = None) -> str:
    outcome = await ask(port, cafile, client)
    assert outcome.fate is not Fate.ACCEPTED
    return outcome.detail


@pytest.fixture
async def server(authority: Authority) -> AsyncIterator[Service]:
    """A gRPC server with a certificate of our authority's, which asks for none."""
    async for one in serving(authority, False):
        yield one


@pytest.fixture
async def mutual(authority: Authority) -> AsyncIterator[Service]:
    """A gRPC server that asks for a client certificate of our authority's."""
    async for one in serving(authority, True):
        yield one


async def serving(authority: Authority, mutual: bool) -> AsyncIterator[Service]:
    pair = authority.issue("server")
    credentials = grpc.ssl_server_credentials(
        [(pair.key.read_bytes(), pair.certificate.read_bytes())],
        authority.certificate.read_bytes() if mutual else None,
        require_client_auth=mutual,
    )
    service = Service()
    await service.start(credentials)
    yield service
    await service.kill()


async def test_a_camera_trusts_a_server_whose_authority_it_was_given(server: Service, authority: Authority):
    assert (await ask(server.port, authority.certificate)).fate is Fate.ACCEPTED


async def test_a_server_of_another_authority_gets_no_frame_and_is_named_as_that(server: Service, stranger: Authority):
    outcome = await ask(server.port, stranger.certificate)
    assert outcome.reason is DropReason.UNAVAILABLE
    assert "certificate" in outcome.detail.lower()
    assert server.requests == []


async def test_a_server_of_a_private_authority_is_not_trusted_without_its_file(server: Service):
    assert await refused(server.port, None)
    assert server.requests == []


async def test_a_camera_shows_its_certificate_where_the_server_asks_for_one(mutual: Service, authority: Authority):
    assert (await ask(mutual.port, authority.certificate, authority.issue("camera"))).fate is Fate.ACCEPTED


async def test_no_certificate_or_a_stranger_s_does_not_let_a_camera_in(
    mutual: Service, authority: Authority, stranger: Authority
):
    assert await refused(mutual.port, authority.certificate)
    assert await refused(mutual.port, authority.certificate, stranger.issue("camera"))
    assert mutual.requests == []


def test_a_certificate_and_a_key_that_do_not_fit_are_reported_before_anything_starts(
    authority: Authority, stranger: Authority
):
    ours, theirs = authority.issue("camera"), stranger.issue("camera")
    environment = {"SIGHTLINE_TLS_CERTFILE": str(ours.certificate), "SIGHTLINE_TLS_KEYFILE": str(theirs.key)}
    with pytest.raises(SettingsError, match=r"SIGHTLINE_TLS_CERTFILE.*do not fit"):
        load_settings(environment)
    with pytest.raises(SettingsError, match=r"SIGHTLINE_TLS_CAFILE.*no certificates"):
        load_settings({"SIGHTLINE_TLS_CAFILE": str(ours.key)})
    assert load_settings({**environment, "SIGHTLINE_TLS_KEYFILE": str(ours.key)}).tls.keyfile == ours.key


Proxy = Callable[[int, bool], int]
"""Starts nginx before a port, with or without client certificates; gives its own port."""


@pytest.fixture
def proxy(authority: Authority, tmp_path: Path) -> Iterator[Proxy]:
    """The configuration in configs/tls, its placeholders filled as its head says."""
    started: list[subprocess.Popen[bytes]] = []

    def start(upstream: int, mutual: bool) -> int:
        port, pair = free_port(), authority.issue("proxy")
        text = (ROOT / "configs" / "tls" / "nginx.conf").read_text()
        if not mutual:
            kept = [line for line in text.splitlines() if "ssl_client_certificate @" not in line]
            text = "\n".join(line for line in kept if "ssl_verify_client on" not in line)
        run = tmp_path / "run"
        run.mkdir()
        for name, value in {
            "@LISTEN@": f"127.0.0.1:{port}",
            "@SERVE@": f"127.0.0.1:{upstream}",
            "@CERTIFICATE@": pair.certificate,
            "@KEY@": pair.key,
            "@CLIENT_CA@": authority.certificate,
            "@RUN@": run,
        }.items():
            text = text.replace(name, str(value))
        file = tmp_path / "nginx.conf"
        # nginx started as root gives its workers another user, who cannot enter pytest's folders.
        file.write_text(f"user root;\n{text}")
        command = ["nginx", "-c", str(file), "-e", "stderr", "-g", "daemon off;"]
        started.append(subprocess.Popen(command))
        wait_for(lambda: listening(port), 20, "nginx")
        return port

    yield start
    for process in started:
        process.terminate()
        process.wait(10)


@pytest.fixture
async def plain() -> AsyncIterator[Service]:
    """A gRPC server without TLS, as Serve's is."""
    service = Service()
    await service.start()
    yield service
    await service.kill()


async def test_through_the_shipped_nginx_a_camera_speaks_tls_to_a_service_that_has_none(
    plain: Service, proxy: Proxy, authority: Authority, stranger: Authority
):
    port = proxy(plain.port, False)
    assert (await ask(port, authority.certificate)).fate is Fate.ACCEPTED
    assert plain.metadata[0]["application"] == "inference"
    assert await refused(port, stranger.certificate)
    assert len(plain.requests) == 1


async def test_through_the_shipped_nginx_only_known_clients_get_in(
    plain: Service, proxy: Proxy, authority: Authority, stranger: Authority
):
    port = proxy(plain.port, True)
    assert (await ask(port, authority.certificate, authority.issue("camera"))).fate is Fate.ACCEPTED
    assert await refused(port, authority.certificate)
    assert await refused(port, authority.certificate, stranger.issue("camera"))
    assert len(plain.requests) == 1


async def test_an_image_of_15_mib_passes_the_shipped_nginx(plain: Service, proxy: Proxy, authority: Authority):
    outcome = await ask(proxy(plain.port, False), authority.certificate, size=15 * 1024 * 1024)
    # The stand-in takes gRPC's own 4 MB: its answer, and not the proxy's, is what comes back.
    assert outcome.fate is Fate.ACCEPTED or "larger than max" in outcome.detail


async def test_codes_of_the_service_pass_the_shipped_nginx_and_its_absence_is_unavailable(
    plain: Service, proxy: Proxy, authority: Authority
):
    async def answer(request: pb.DetectRequest, context: grpc.aio.ServicerContext) -> pb.DetectResponse:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
        raise AssertionError

    plain.answer = answer
    port = proxy(plain.port, False)
    assert (await ask(port, authority.certificate)).reason is DropReason.OVERLOADED
    await plain.kill()
    gone = await ask(port, authority.certificate)
    assert gone.reason is DropReason.UNAVAILABLE
    assert "away" in gone.detail
