from __future__ import annotations

import asyncio
import re
import socket
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from opentelemetry.sdk.trace import TracerProvider
from pydantic import SecretStr

from app.cameras.frame import EncodedFrame
from app.cameras.ledger import DropReason
from app.cameras.outcome import Fate
from app.cameras.sending.client import DetectClient
from app.cameras.sending.tracing import CameraTracing
from app.core.wanted import Wanted
from app.errors import SettingsError
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.settings.connections import TlsSettings
from app.settings.service_address import ServiceAddress
from tests.support.cameras import Service, abort_with

FRAME = EncodedFrame(
    camera_id="gate",
    frame_id="7-3",
    epoch=7,
    sequence=4,
    captured_at=datetime(2026, 1, 10, 12, 0, 1, 250_000, tzinfo=UTC),
    captured=0.0,
    jpeg=b"\xff\xd8\xff",
    source_width=1920,
    source_height=1080,
    encode_ms=1.5,
)


async def test_a_request_carries_all_that_the_contract_names(service: Service, client: DetectClient):
    outcome = await client.detect(FRAME, 0.1504)
    assert outcome.fate is Fate.ACCEPTED
    assert outcome.response is not None
    assert outcome.response.frame_id == "7-3"
    (sent,) = service.requests
    assert (sent.camera_id, sent.frame_id, sent.image) == ("gate", "7-3", FRAME.jpeg)
    assert (sent.epoch, sent.sequence, sent.encode_ms) == (7, 4, 1.5)
    assert (sent.source_width, sent.source_height) == (1920, 1080)
    assert sent.latency_budget_ms == 150
    assert sent.captured_at.ToNanoseconds() == int(FRAME.captured_at.timestamp() * 1000) * 1_000_000
    assert service.metadata[0]["application"] == "inference"
    assert "authorization" not in service.metadata[0]
    assert (sent.HasField("confidence"), list(sent.classes), sent.model) == (False, [], "")


async def test_a_request_asks_for_what_the_camera_wants_detected(service: Service):
    address = ServiceAddress(host="127.0.0.1", port=service.port)
    client = DetectClient(address, wanted=Wanted(confidence=0.0, classes=("person", "car"), model="ppe"))
    await client.detect(FRAME, 0.2)
    await client.close()
    (sent,) = service.requests
    assert (sent.HasField("confidence"), sent.confidence, list(sent.classes)) == (True, 0.0, ["person", "car"])
    assert sent.model == "ppe"
    assert not sent.untracked


async def test_a_camera_that_is_not_tracked_says_so_with_each_request(service: Service):
    client = DetectClient(ServiceAddress(host="127.0.0.1", port=service.port), wanted=Wanted(tracked=False))
    await client.detect(FRAME, 0.2)
    await client.close()
    assert service.requests[0].untracked


async def test_the_deadline_on_the_wire_is_the_remainder_and_a_second(service: Service, client: DetectClient):
    left: list[float] = []

    async def answer(request: pb.DetectRequest, context: grpc.aio.ServicerContext) -> pb.DetectResponse:
        left.append(context.time_remaining())
        return pb.DetectResponse()

    service.answer = answer
    await client.detect(FRAME, 0.2)
    assert left[0] == pytest.approx(1.2, abs=0.15)


async def test_a_token_goes_along_as_a_bearer(service: Service):
    client = DetectClient(ServiceAddress(host="127.0.0.1", port=service.port), token=SecretStr("abc"))
    await client.detect(FRAME, 0.2)
    await client.close()
    assert service.metadata[0]["authorization"] == "Bearer abc"


async def test_the_trace_of_a_frame_goes_along_where_it_is_traced(service: Service, client: DetectClient):
    tracing = CameraTracing(TracerProvider().get_tracer("test"))
    traced = DetectClient(ServiceAddress(host="127.0.0.1", port=service.port), tracing=tracing)
    assert (await traced.detect(FRAME, 0.2)).fate is Fate.ACCEPTED
    await traced.close()
    await client.detect(FRAME, 0.2)
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-0[13]", service.metadata[0]["traceparent"])
    assert service.metadata[0]["application"] == "inference"
    assert "traceparent" not in service.metadata[1]


@pytest.mark.parametrize("remaining_s", [0.0009, 0.0, -1.0])
async def test_a_frame_without_time_left_is_not_sent(service: Service, client: DetectClient, remaining_s: float):
    outcome = await client.detect(FRAME, remaining_s)
    assert outcome.reason is DropReason.DEADLINE
    assert service.requests == []


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.DEADLINE_EXCEEDED, DropReason.DEADLINE),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, DropReason.OVERLOADED),
        (grpc.StatusCode.INVALID_ARGUMENT, DropReason.REJECTED),
        (grpc.StatusCode.INTERNAL, DropReason.REJECTED),
        (grpc.StatusCode.UNAUTHENTICATED, DropReason.REJECTED),
        (grpc.StatusCode.PERMISSION_DENIED, DropReason.REJECTED),
        (grpc.StatusCode.UNKNOWN, DropReason.REJECTED),
        (grpc.StatusCode.ABORTED, DropReason.OUT_OF_ORDER),
        (grpc.StatusCode.FAILED_PRECONDITION, DropReason.OUT_OF_ORDER),
        (grpc.StatusCode.UNAVAILABLE, DropReason.UNAVAILABLE),
        (grpc.StatusCode.NOT_FOUND, DropReason.UNAVAILABLE),
        (grpc.StatusCode.UNIMPLEMENTED, DropReason.UNAVAILABLE),
    ],
)
async def test_every_answer_of_the_service_has_its_place(
    service: Service, client: DetectClient, code: grpc.StatusCode, reason: DropReason
):
    service.answer = abort_with(code)
    for _ in range(3):
        outcome = await client.detect(FRAME, 0.5)
        assert (outcome.fate, outcome.reason) == (Fate.DROPPED, reason)
        assert outcome.detail == "as the test wants it"


async def test_a_call_that_the_server_cancels_is_unconfirmed(service: Service, client: DetectClient):
    service.answer = abort_with(grpc.StatusCode.CANCELLED)
    assert (await client.detect(FRAME, 0.5)).fate is Fate.UNCONFIRMED


async def _never(request: pb.DetectRequest, context: grpc.aio.ServicerContext) -> pb.DetectResponse:
    await asyncio.sleep(60)
    raise AssertionError


@pytest.mark.parametrize("warm", [True, False])
async def test_an_answer_that_does_not_come_in_time_is_unconfirmed(service: Service, client: DetectClient, warm: bool):
    if warm:
        await client.detect(FRAME, 0.5)
    service.answer = _never
    outcome = await client.detect(FRAME, 0.05)
    assert outcome.fate is Fate.UNCONFIRMED


@pytest.mark.parametrize("warm", [True, False])
async def test_a_server_killed_in_mid_call_leaves_the_frame_unconfirmed(
    service: Service, client: DetectClient, warm: bool
):
    if warm:
        await client.detect(FRAME, 0.5)
    service.answer = _never
    service.received.clear()
    call = asyncio.create_task(client.detect(FRAME, 5.0))
    await service.received.wait()
    await service.kill()
    assert (await call).fate is Fate.UNCONFIRMED


async def test_a_connection_cut_in_mid_call_leaves_the_frame_unconfirmed(service: Service):
    service.answer = _never
    links: list[asyncio.StreamWriter] = []
    tasks: list[asyncio.Task[None]] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", service.port)
        links.extend((writer, far_writer))
        tasks.append(asyncio.create_task(pump(reader, far_writer)))
        tasks.append(asyncio.create_task(pump(far_reader, writer)))

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    client = DetectClient(ServiceAddress(host="127.0.0.1", port=server.sockets[0].getsockname()[1]))
    call = asyncio.create_task(client.detect(FRAME, 5.0))
    await service.received.wait()
    for link in links:
        link.transport.abort()
    assert (await call).fate is Fate.UNCONFIRMED
    await client.close()
    server.close()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_without_a_server_the_frame_is_unavailable():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        client = DetectClient(ServiceAddress(host="127.0.0.1", port=bound.getsockname()[1]))
        for _ in range(2):
            assert (await client.detect(FRAME, 0.3)).reason is DropReason.UNAVAILABLE
        await client.close()


async def test_a_port_that_takes_connections_and_says_nothing_is_unavailable():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        client = DetectClient(ServiceAddress(host="127.0.0.1", port=silent.getsockname()[1]))
        assert (await client.detect(FRAME, 0.05)).reason is DropReason.UNAVAILABLE
        await client.close()


async def test_a_service_that_comes_back_is_found_again(service: Service, client: DetectClient):
    await client.detect(FRAME, 0.5)
    await service.kill()
    assert (await client.detect(FRAME, 0.5)).fate is not Fate.ACCEPTED
    await service.start()
    fates = []
    while not fates or fates[-1] is not Fate.ACCEPTED:
        assert len(fates) < 200
        fates.append((await client.detect(FRAME, 0.5)).fate)
        await asyncio.sleep(0.05)


async def test_the_first_address_that_can_be_reached_is_asked(service: Service):
    with socket.socket() as away:
        away.bind(("127.0.0.1", 0))
        absent = ServiceAddress(host="127.0.0.1", port=away.getsockname()[1])
        client = DetectClient(absent)
        client.route([absent, ServiceAddress(host="127.0.0.1", port=service.port)])
        assert (await client.detect(FRAME, 0.5)).fate is Fate.ACCEPTED
        await client.close()


async def test_a_new_route_takes_new_frames_and_the_one_in_flight_gets_its_answer(service: Service):
    other = Service()
    await other.start()
    client = DetectClient(ServiceAddress(host="127.0.0.1", port=other.port))
    let_go = asyncio.Event()

    async def answer(request: pb.DetectRequest, context: grpc.aio.ServicerContext) -> pb.DetectResponse:
        await let_go.wait()
        return pb.DetectResponse()

    other.answer = answer
    in_flight = asyncio.create_task(client.detect(FRAME, 5.0))
    await other.received.wait()
    client.route([ServiceAddress(host="127.0.0.1", port=service.port)])
    assert (await client.detect(FRAME, 0.5)).fate is Fate.ACCEPTED
    assert len(service.requests) == 1
    let_go.set()
    assert (await in_flight).fate is Fate.ACCEPTED
    await client.close()
    await other.kill()


async def test_a_client_with_a_new_route_closes_with_calls_in_flight_on_the_old_channel(service: Service):
    client = DetectClient(ServiceAddress(host="127.0.0.1", port=service.port))

    async def answer(request: pb.DetectRequest, context: grpc.aio.ServicerContext) -> pb.DetectResponse:
        await asyncio.Event().wait()
        raise AssertionError

    service.answer = answer
    in_flight = asyncio.create_task(client.detect(FRAME, 5.0))
    await service.received.wait()
    client.route([ServiceAddress(host="127.0.0.1", port=1)])
    await asyncio.wait_for(client.close(), 3)
    (ended,) = await asyncio.gather(in_flight, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError)


async def test_a_16_mib_image_goes_through_and_a_larger_one_is_rejected(service: Service, client: DetectClient):
    large = EncodedFrame(**{**vars(FRAME), "jpeg": bytes(17 * 1024 * 1024)})
    assert (await client.detect(large, 2.0)).reason is DropReason.REJECTED
    assert service.requests == []


async def test_a_client_closes_twice_and_before_its_first_use():
    client = DetectClient(ServiceAddress(host="127.0.0.1", port=1))
    await client.close()
    await client.close()


def test_a_tls_file_that_is_not_there_is_named_by_its_setting():
    with pytest.raises(SettingsError, match="SIGHTLINE_TLS_CAFILE"):
        DetectClient(
            ServiceAddress(host="localhost", port=1, secure=True), tls=TlsSettings(cafile=Path("/nowhere/ca.pem"))
        )
