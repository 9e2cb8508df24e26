"""DetectClient: one camera's connection to the inference service."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import SecretStr

from app.cameras.frame import EncodedFrame
from app.cameras.ledger import DropReason
from app.cameras.outcome import Outcome
from app.cameras.sending.grpc_outcomes import FailedCall, outcome_of
from app.core.image_header import MAX_ENCODED_BYTES
from app.core.wanted import AS_CONFIGURED, DEFAULT_MODEL, Wanted
from app.errors import SettingsError
from app.rpc.codes import committed_epoch, max_fps
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.rpc.sightline.inference.v1.inference_pb2_grpc import InferenceServiceStub
from app.settings.connections import TlsSettings
from app.settings.service_address import ServiceAddress

if TYPE_CHECKING:  # the stub exists for the type checker only; tracing is loaded where it is on
    from app.cameras.sending.tracing import CameraTracing
    from app.rpc.sightline.inference.v1.inference_pb2_grpc import InferenceServiceAsyncStub

ANSWER_MARGIN_S = 1.0
"""Seconds beyond the frame's budget that an answer is waited for: the server's deadline decides, not the client's."""
_MAX_MESSAGE = MAX_ENCODED_BYTES + 64 * 1024
_CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_send_message_length", _MAX_MESSAGE),
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
    # gRPC would send the frames through the http_proxy of the environment; with several addresses in the target not
    # even no_proxy would help, as gRPC compares it with the whole target.
    ("grpc.enable_http_proxy", 0),
    # A connection that died silently is detected in 15 s. Only while calls are in flight: servers close a connection
    # that pings without any.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    # gRPC adds a jitter of ±20 % itself.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 2_000),  # in effect the time that one try to connect may take
    ("grpc.max_reconnect_backoff_ms", 3_000),
)


class DetectClient:
    """Sends frames over one channel, which connects when first used, and again whenever it breaks.

    Constructed in any thread; used and closed on one event loop. Each request asks for what the camera wants detected.

    Raises:
        SettingsError: a TLS file cannot be read.
    """

    def __init__(
        self,
        address: ServiceAddress,
        *,
        tls: TlsSettings | None = None,
        token: SecretStr | None = None,
        tracing: CameraTracing | None = None,
        wanted: Wanted = AS_CONFIGURED,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = address.target
        self._credentials = _credentials(tls or TlsSettings()) if address.secure else None
        self._metadata: tuple[tuple[str, str], ...] = (("application", "inference"),)
        if token is not None:
            self._metadata += (("authorization", f"Bearer {token.get_secret_value()}"),)
        self._tracing = tracing
        self._wanted = wanted
        self._monotonic = monotonic
        self._channel: grpc.aio.Channel | None = None
        self._stub: InferenceServiceAsyncStub | None = None
        self._retired: set[grpc.aio.Channel] = set()
        """Channels on which no new call is made; closed once their last call has ended."""
        self._calls: Counter[grpc.aio.Channel] = Counter()
        """Calls in flight by channel."""

    def route(self, addresses: Sequence[ServiceAddress]) -> None:
        """Send frames from now on to the first of these that can be reached; calls in flight run to their end.

        Args:
            addresses: one; or several IP addresses of one family, with the TLS settings of the constructor's address.
        """
        target = _target(addresses)
        if target == self._target:
            return
        self._target = target
        if self._channel is not None:
            self._retired.add(self._channel)
        self._channel, self._stub = None, None

    async def detect(self, frame: EncodedFrame, remaining_s: float) -> Outcome:
        """Send a frame that has ``remaining_s`` seconds left of its budget, and return what became of it.

        If this is cancelled, it is unknown whether the frame arrived.
        """
        if self._tracing is None:
            return await self._call(frame, remaining_s, self._metadata)
        with self._tracing.send(frame) as sent:
            outcome = await self._call(frame, remaining_s, (*self._metadata, ("traceparent", sent.traceparent)))
            sent.settle(outcome)
        return outcome

    async def _call(self, frame: EncodedFrame, remaining_s: float, metadata: tuple[tuple[str, str], ...]) -> Outcome:
        if remaining_s < 0.001:  # 0 would select the service's own, long time-out
            return Outcome.dropped(DropReason.DEADLINE, "the budget ran out before it was sent")
        channel, stub = self._connected()
        self._calls[channel] += 1
        try:
            return await self._detect_on(channel, stub, frame, remaining_s, metadata)
        finally:
            await self._release(channel)

    async def _detect_on(
        self,
        channel: grpc.aio.Channel,
        stub: InferenceServiceAsyncStub,
        frame: EncodedFrame,
        remaining_s: float,
        metadata: tuple[tuple[str, str], ...],
    ) -> Outcome:
        was_ready = _is_ready(channel)
        timeout_s = remaining_s + ANSWER_MARGIN_S
        began = self._monotonic()
        try:
            request = _request(frame, int(remaining_s * 1000), self._wanted)
            response = await stub.Detect(request, timeout=timeout_s, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            trailing = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ())
            return outcome_of(
                FailedCall(
                    code=error.code(),
                    details=error.details() or "",
                    answered=bool(trailing),
                    expired=self._monotonic() - began >= timeout_s * 0.98,
                    was_ready=was_ready,
                    is_ready=_is_ready(channel),
                    committed_epoch=committed_epoch(trailing),
                    max_fps=max_fps(trailing),
                )
            )
        except Exception as error:  # noqa: BLE001 - any other error was raised before anything was sent
            return Outcome.dropped(DropReason.UNAVAILABLE, f"the call could not be made ({type(error).__name__})")
        return Outcome.accepted(response)

    async def close(self) -> None:
        """Close all channels; calls in flight are cancelled. Closing twice does nothing."""
        channel, self._channel, self._stub = self._channel, None, None
        retired, self._retired = self._retired, set()
        for each in (*retired, *([channel] if channel is not None else [])):
            await each.close(grace=None)

    async def _release(self, channel: grpc.aio.Channel) -> None:
        """Count the end of a call, and close the retired channels that have none in flight."""
        self._calls[channel] -= 1
        for idle in [each for each in self._retired if not self._calls[each]]:
            self._retired.discard(idle)
            await idle.close(grace=None)
        self._calls = +self._calls

    def _connected(self) -> tuple[grpc.aio.Channel, InferenceServiceAsyncStub]:
        if self._channel is None or self._stub is None:
            self._channel = self._open()
            self._stub = InferenceServiceStub(self._channel)
        return self._channel, self._stub

    def _open(self) -> grpc.aio.Channel:
        if self._credentials is None:
            return grpc.aio.insecure_channel(self._target, options=_CHANNEL_OPTIONS)
        return grpc.aio.secure_channel(self._target, self._credentials, options=_CHANNEL_OPTIONS)


def _request(frame: EncodedFrame, budget_ms: int, wanted: Wanted) -> pb.DetectRequest:
    captured_at = Timestamp()
    captured_at.FromDatetime(frame.captured_at)
    return pb.DetectRequest(
        camera_id=frame.camera_id,
        frame_id=frame.frame_id,
        image=frame.jpeg,
        captured_at=captured_at,
        source_width=frame.source_width,
        source_height=frame.source_height,
        latency_budget_ms=budget_ms,
        epoch=frame.epoch,
        sequence=frame.sequence,
        encode_ms=frame.encode_ms,
        model="" if wanted.model == DEFAULT_MODEL else wanted.model,
        confidence=wanted.confidence,
        classes=wanted.classes,
        untracked=not wanted.tracked,
    )


def _target(addresses: Sequence[ServiceAddress]) -> str:
    """Return addresses as a gRPC target; of several, gRPC takes the first that it can connect to (``pick_first``)."""
    if len(addresses) == 1:
        return addresses[0].target
    family = "ipv6" if addresses[0].host.startswith("[") else "ipv4"
    return f"{family}:{','.join(address.target for address in addresses)}"


def _is_ready(channel: grpc.aio.Channel) -> bool:
    return channel.get_state() is grpc.ChannelConnectivity.READY


def _credentials(tls: TlsSettings) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=_content("SIGHTLINE_TLS_CAFILE", tls.cafile),
        private_key=_content("SIGHTLINE_TLS_KEYFILE", tls.keyfile),
        certificate_chain=_content("SIGHTLINE_TLS_CERTFILE", tls.certfile),
    )


def _content(key: str, file: Path | None) -> bytes | None:
    try:
        return None if file is None else file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{key}: {str(file)!r} cannot be read: {error.strerror}") from None
